//! Questions to the kernel about BPF programs.
