//! Where the functions of a TLS library are in an ELF file.
