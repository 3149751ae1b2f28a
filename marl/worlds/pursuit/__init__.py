"""Pursuit: pursuers surround evaders on a grid."""
