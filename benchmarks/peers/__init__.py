"""The simulators that the benchmarks compare with."""
