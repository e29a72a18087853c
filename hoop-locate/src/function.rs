//! The functions that are probed, and how each is called.

use std::fmt;

/// A function that is probed.
///
/// Arguments are counted from 0. Unless said otherwise the C calling convention of the platform
/// holds: on `x86_64` arguments 0 to 5 are in `rdi`, `rsi`, `rdx`, `rcx`, `r8`, `r9` and the result is
/// in `rax`; on `aarch64` arguments 0 to 7 are in `x0` to `x7` and the result is in `x0`. "Moved" is
/// the number of bytes of plaintext that the call took from, or put into, the caller's buffer; a
/// call that moved nothing leaves whatever was in the buffer before.
///
/// # OpenSSL and `BoringSSL`
///
/// `SSL_read` and `SSL_read_ex`, and `SSL_write` and `SSL_write_ex`, do not call each other but an
/// internal function that has no name in the file, or is inlined (seen in the code of 3.0.19, as a
/// library and within Node). Where one probed function does call another it is said below: then the
/// bytes are those of the outer call, and a call within it on the same thread does not count. In
/// `BoringSSL` [`SslRead`](Self::SslRead) calls `SSL_peek`, which is not probed. Results of type `int`
/// have 32 bits: the upper half of the register is not theirs.
///
/// # Which call has the bytes
///
/// A write that would block (`SSL_ERROR_WANT_*`, `GNUTLS_E_AGAIN`) is made again by the program with
/// the same bytes; only the call that succeeds counts, so that the bytes are not seen twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Function {
    /// `int SSL_read(SSL *ssl, void *buf, int num)`: 0 is the connection, 1 the buffer, read at
    /// return. Returns moved if above 0, else nothing was.
    SslRead,
    /// `int SSL_read_ex(SSL *ssl, void *buf, size_t num, size_t *readbytes)`: 0 is the connection, 1
    /// the buffer, read at return. If 1 is returned, moved is at argument 3, 8 bytes; else nothing
    /// was, and the memory at 3 may be stale.
    SslReadEx,
    /// `int SSL_write(SSL *ssl, const void *buf, int num)`: 0 is the connection, 1 the buffer.
    /// Returns moved if above 0, which is less than `num` under `SSL_MODE_ENABLE_PARTIAL_WRITE`.
    SslWrite,
    /// `int SSL_write_ex(SSL *ssl, const void *buf, size_t num, size_t *written)`: 0 is the
    /// connection, 1 the buffer. If 1 is returned, moved is at argument 3, 8 bytes.
    SslWriteEx,
    /// `int SSL_write_ex2(SSL *ssl, const void *buf, size_t num, uint64_t flags, size_t *written)`,
    /// since OpenSSL 3.3: as [`SslWriteEx`](Self::SslWriteEx) with moved at argument 4. It is what
    /// `SSL_write_ex` calls there.
    SslWriteEx2,
    /// `int SSL_read_early_data(SSL *ssl, void *buf, size_t num, size_t *readbytes)`, by a server:
    /// arguments as [`SslReadEx`](Self::SslReadEx). Moved is at argument 3 if 1
    /// (`SSL_READ_EARLY_DATA_SUCCESS`) is returned. It calls `SSL_read_ex`: in a shared
    /// library by its probed entry (seen in 3.0.19), in Node not.
    SslReadEarlyData,
    /// `int SSL_write_early_data(SSL *ssl, const void *buf, size_t num, size_t *written)`, by a
    /// client: arguments as [`SslWriteEx`](Self::SslWriteEx). It calls `SSL_write_ex`, as above.
    SslWriteEarlyData,
    /// `ossl_ssize_t SSL_sendfile(SSL *ssl, int fd, off_t offset, size_t size, int flags)`, with
    /// kernel TLS only. The bytes go from a file to the socket within the kernel and are in no
    /// buffer: a positive result is that many bytes which were not seen.
    SslSendfile,
    /// `void SSL_free(SSL *ssl)`: 0 is a connection. It counts references: the pointer is reused only
    /// after the last one, so that to forget it early loses the connection's join, not bytes.
    SslFree,
    /// `SSL *SSL_new(SSL_CTX *ctx)`: returns a connection that begins, or null. Probed where
    /// [`SslFree`](Self::SslFree) cannot be found: whatever is known of that pointer is of another.
    SslNew,
    /// `int SSL_set_fd(SSL *ssl, int fd)`: 0 is the connection, 1 the socket for both ways.
    SslSetFd,
    /// `int SSL_set_rfd(SSL *ssl, int fd)`: 0 is the connection, 1 the socket for reading.
    SslSetRfd,
    /// `int SSL_set_wfd(SSL *ssl, int fd)`: 0 is the connection, 1 the socket for writing.
    SslSetWfd,

    /// `ssize_t gnutls_record_send2(gnutls_session_t session, const void *data, size_t data_size,
    /// size_t pad, unsigned flags)`: 0 is the connection, 1 the buffer. Returns moved if above 0
    /// (64 bits; one record, so often less than `data_size`).
    ///
    /// `gnutls_record_send` is a jump to it through the procedure linkage table (seen in the code of
    /// 3.7.9), `gnutls_record_send_file` and `gnutls_record_uncork` call `gnutls_record_send`: one
    /// probe here sees them all once. Between `gnutls_record_cork` and
    /// [`GnutlsRecordUncork`](Self::GnutlsRecordUncork) it only collects, returns `data_size`, and is
    /// called again by the latter with what was collected.
    ///
    /// After `GNUTLS_E_AGAIN` (-28) or `GNUTLS_E_INTERRUPTED` (-52) the program may call with `data`
    /// null and `data_size` 0; a positive result then counts bytes at the start of the buffer of the
    /// call that failed.
    GnutlsRecordSend2,
    /// `ssize_t gnutls_record_send(gnutls_session_t session, const void *data, size_t data_size)`, as
    /// [`GnutlsRecordSend2`](Self::GnutlsRecordSend2); only for a file without that one, before 3.6.3.
    GnutlsRecordSend,
    /// `ssize_t gnutls_record_send_range(gnutls_session_t session, const void *data, size_t
    /// data_size, const gnutls_range_st *range)`: as
    /// [`GnutlsRecordSend2`](Self::GnutlsRecordSend2), which it does not call.
    GnutlsRecordSendRange,
    /// `ssize_t gnutls_record_send_early_data(gnutls_session_t session, const void *data, size_t
    /// data_size)`, by a client: 0 is the connection, 1 the buffer. Returns 0
    /// (`GNUTLS_E_SUCCESS`) when all of `data_size` was taken.
    GnutlsRecordSendEarlyData,
    /// `int gnutls_record_uncork(gnutls_session_t session, unsigned flags)`: 0 is the connection.
    /// Moves nothing of its own: a [`GnutlsRecordSend2`](Self::GnutlsRecordSend2) within it, on the
    /// same thread, repeats bytes that were seen when they were corked.
    GnutlsRecordUncork,
    /// `ssize_t gnutls_record_recv(gnutls_session_t session, void *data, size_t data_size)`: 0 is the
    /// connection, 1 the buffer, read at return. Returns moved if above 0 (64 bits).
    ///
    /// It, `gnutls_record_recv_seq` and `gnutls_record_recv_packet` do not call one another: the
    /// first two end in a jump to an internal function that has no name in the file (seen in 3.7.9),
    /// so a return probe sees their results and a `RET` probe would not.
    GnutlsRecordRecv,
    /// `ssize_t gnutls_record_recv_seq(gnutls_session_t session, void *data, size_t data_size,
    /// unsigned char *seq)`: as [`GnutlsRecordRecv`](Self::GnutlsRecordRecv).
    GnutlsRecordRecvSeq,
    /// `ssize_t gnutls_record_recv_packet(gnutls_session_t session, gnutls_packet_t *packet)`: 0 is
    /// the connection, 1 the place at which the function puts a pointer to the packet. Returns moved
    /// if above 0. The packet is a structure that is not part of the interface; in 3.7.9 its bytes
    /// begin at the pointer at `packet + 24`, plus the 8 bytes at `packet + 16` (as
    /// `gnutls_packet_get` reads them).
    GnutlsRecordRecvPacket,
    /// `ssize_t gnutls_record_recv_early_data(gnutls_session_t session, void *data, size_t
    /// data_size)`, by a server: as [`GnutlsRecordRecv`](Self::GnutlsRecordRecv).
    GnutlsRecordRecvEarlyData,
    /// `void gnutls_transport_set_int2(gnutls_session_t session, int recv_fd, int send_fd)`: 0 is the
    /// connection, 1 and 2 are sockets. `gnutls_transport_set_int` is a macro of it.
    GnutlsTransportSetInt2,
    /// `void gnutls_deinit(gnutls_session_t session)`: 0 is a connection, which ends.
    GnutlsDeinit,

    /// `func (c *Conn) Read(b []byte) (int, error)` of `crypto/tls`. In Go's convention for registers,
    /// at entry: `rax` (`x0`) is the connection, `rbx` (`x1`) the buffer, `rcx` (`x2`) its length. At
    /// each `RET`: `rax` (`x0`) is moved, above 0 also with an error in `rbx` (`x1`).
    ///
    /// The stack of a goroutine moves, so that return probes would corrupt it, and its thread
    /// changes: key by `g`, which is in `r14` (`x28`) at entry and at every `RET`. The buffer does not
    /// move meanwhile (it escapes to the heap). Where the stack has to grow, the function begins again
    /// at its entry, with the same arguments: an entry without a return replaces the one before.
    ///
    /// `c.conn` is an interface at offset 0. Where it is a `*net.TCPConn` its descriptor is the `int`
    /// at `**(c + 8) + 16` (`conn.fd.pfd.Sysfd`, Go 1.10 to 1.27); the caller must check that it
    /// is a socket of that process, as any other type may be there.
    GoConnRead,
    /// `func (c *Conn) Write(b []byte) (int, error)` of `crypto/tls`: as
    /// [`GoConnRead`](Self::GoConnRead), the buffer's bytes being there from the entry on.
    GoConnWrite,
    /// `func (c *Conn) Close() error` of `crypto/tls`: at entry `rax` (`x0`) is the connection.
    GoConnClose,

    /// `fn CommonState::send_appdata_encrypt(&mut self, payload: OutboundChunks<'_>, ...) -> usize` of
    /// rustls 0.23, which every write comes to when it is encrypted, early data too. 0 is the connection, 1 points to the payload, 4
    /// words of 8 bytes: if the first is 0, the bytes are at the second and the third is their
    /// number; else the first points to slices (pointer and length, 8 bytes each), the second is their
    /// number, and of their concatenation the bytes from the third to the fourth count. Returns moved
    /// (64 bits), 0 when the connection's buffer is full. No two calls have the same bytes.
    ///
    /// Rust promises no such layout; this is what rustc 1.95 makes of 0.23.46, with and without
    /// optimisation (seen by a debugger), and the fields are the same since 0.23.0.
    ///
    /// The connection is a `CommonState` within the program's own object, the same for both ways. It
    /// can be moved, and then looks like another: a join that is kept by this pointer must survive
    /// that. Nothing marks its end.
    RustlsSendAppdataEncrypt,
    /// `fn CommonState::buffer_plaintext(&mut self, payload: OutboundChunks<'_>, sendable_plaintext:
    /// &mut ChunkVecBuffer) -> usize` of rustls 0.23: as
    /// [`RustlsSendAppdataEncrypt`](Self::RustlsSendAppdataEncrypt), which it calls; only for a file in
    /// which that was inlined.
    RustlsBufferPlaintext,
    /// `fn CommonState::send_some_plaintext(&mut self, data: &[u8]) -> usize` of rustls 0.20 to 0.22:
    /// 0 is the connection, 1 the buffer, 2 its length. Returns moved.
    RustlsSendSomePlaintext,
    /// `fn CommonState::send_early_plaintext(&mut self, data: &[u8]) -> usize`, by a client: as
    /// [`RustlsSendSomePlaintext`](Self::RustlsSendSomePlaintext).
    RustlsSendEarlyPlaintext,
    /// `fn CommonState::take_received_plaintext(&mut self, bytes: Payload<'_>)` of rustls 0.20 to 0.23:
    /// 0 is the connection, 1 points to the payload, 3 words of 8 bytes, whether it is borrowed or a
    /// vector: the bytes are at the second, and the third is their number. All of them are moved, into
    /// the connection's buffer, once for each record; there is no result, and nothing to see at return.
    /// For the layout see [`RustlsSendAppdataEncrypt`](Self::RustlsSendAppdataEncrypt); a compiler before
    /// 1.78 may put a vector's words in another order.
    RustlsTakeReceivedPlaintext,
}

impl Function {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 32] = [
        Self::SslRead,
        Self::SslReadEx,
        Self::SslWrite,
        Self::SslWriteEx,
        Self::SslWriteEx2,
        Self::SslReadEarlyData,
        Self::SslWriteEarlyData,
        Self::SslSendfile,
        Self::SslFree,
        Self::SslNew,
        Self::SslSetFd,
        Self::SslSetRfd,
        Self::SslSetWfd,
        Self::GnutlsRecordSend2,
        Self::GnutlsRecordSend,
        Self::GnutlsRecordSendRange,
        Self::GnutlsRecordSendEarlyData,
        Self::GnutlsRecordUncork,
        Self::GnutlsRecordRecv,
        Self::GnutlsRecordRecvSeq,
        Self::GnutlsRecordRecvPacket,
        Self::GnutlsRecordRecvEarlyData,
        Self::GnutlsTransportSetInt2,
        Self::GnutlsDeinit,
        Self::GoConnRead,
        Self::GoConnWrite,
        Self::GoConnClose,
        Self::RustlsSendAppdataEncrypt,
        Self::RustlsBufferPlaintext,
        Self::RustlsSendSomePlaintext,
        Self::RustlsSendEarlyPlaintext,
        Self::RustlsTakeReceivedPlaintext,
    ];

    /// The function's name as its own project writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SslRead => "SSL_read",
            Self::SslReadEx => "SSL_read_ex",
            Self::SslWrite => "SSL_write",
            Self::SslWriteEx => "SSL_write_ex",
            Self::SslWriteEx2 => "SSL_write_ex2",
            Self::SslReadEarlyData => "SSL_read_early_data",
            Self::SslWriteEarlyData => "SSL_write_early_data",
            Self::SslSendfile => "SSL_sendfile",
            Self::SslFree => "SSL_free",
            Self::SslNew => "SSL_new",
            Self::SslSetFd => "SSL_set_fd",
            Self::SslSetRfd => "SSL_set_rfd",
            Self::SslSetWfd => "SSL_set_wfd",
            Self::GnutlsRecordSend2 => "gnutls_record_send2",
            Self::GnutlsRecordSend => "gnutls_record_send",
            Self::GnutlsRecordSendRange => "gnutls_record_send_range",
            Self::GnutlsRecordSendEarlyData => "gnutls_record_send_early_data",
            Self::GnutlsRecordUncork => "gnutls_record_uncork",
            Self::GnutlsRecordRecv => "gnutls_record_recv",
            Self::GnutlsRecordRecvSeq => "gnutls_record_recv_seq",
            Self::GnutlsRecordRecvPacket => "gnutls_record_recv_packet",
            Self::GnutlsRecordRecvEarlyData => "gnutls_record_recv_early_data",
            Self::GnutlsTransportSetInt2 => "gnutls_transport_set_int2",
            Self::GnutlsDeinit => "gnutls_deinit",
            Self::GoConnRead => "crypto/tls.(*Conn).Read",
            Self::GoConnWrite => "crypto/tls.(*Conn).Write",
            Self::GoConnClose => "crypto/tls.(*Conn).Close",
            Self::RustlsSendAppdataEncrypt => "rustls::CommonState::send_appdata_encrypt",
            Self::RustlsBufferPlaintext => "rustls::CommonState::buffer_plaintext",
            Self::RustlsSendSomePlaintext => "rustls::CommonState::send_some_plaintext",
            Self::RustlsSendEarlyPlaintext => "rustls::CommonState::send_early_plaintext",
            Self::RustlsTakeReceivedPlaintext => "rustls::CommonState::take_received_plaintext",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
