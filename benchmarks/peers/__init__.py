"""The libraries that the benchmarks compare with."""
