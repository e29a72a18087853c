//! What a connection may cost.

/// Bounds on what a [`Connection`](crate::Connection) keeps and hands out. All sizes are bytes.
///
/// What goes beyond one is counted in an [`Event::Unreadable`](crate::Event::Unreadable), and
/// reading goes on behind it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The head of an HTTP/1 message, its trailer section, or an HTTP/2 header block, as sent.
    /// 64 KiB: four times what common servers take.
    pub head: usize,
    /// The fields of one head, decoded: an HPACK bomb names a long field many times over. 256 KiB.
    pub header_list: usize,
    /// What is told of one body, decoded. 64 MiB: it is handed on, not held.
    pub body: u64,
    /// Decoded bytes for each byte on the wire, past the first MiB. 1024: DEFLATE ends there
    /// anyway, and real documents at a tenth of it.
    pub ratio: u64,
    /// Content codings in a row on one body. 4.
    pub codings: usize,
    /// The windows of all decoders of a connection at a time, and server-sent events of more than
    /// 16 KiB that are under way. 32 MiB: an 8 MiB window, the most that RFC 9659 lets zstd take,
    /// four times.
    pub decoder_memory: usize,
    /// HTTP/2 streams followed at a time; past that the oldest is dropped. 1024.
    pub streams: usize,
    /// An HPACK dynamic table, by the measure of RFC 7541 section 4.1. 64 KiB: Chrome's.
    pub hpack_table: usize,
    /// An HTTP/2 or WebSocket frame that reading may go on at after a gap. 64 KiB: larger ones are
    /// read, but not taken for a place to go on.
    pub frame: usize,
    /// HTTP/1 requests that wait for their response. 256; to a response past that the method of its
    /// request is unknown.
    pub pipeline: usize,
    /// A WebSocket message, decoded. 4 MiB.
    pub websocket_message: usize,
    /// A server-sent event: `event`, `data` and `id` together. 1 MiB.
    pub sse_event: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 << 10,
            header_list: 256 << 10,
            body: 64 << 20,
            ratio: 1024,
            codings: 4,
            decoder_memory: 32 << 20,
            streams: 1024,
            hpack_table: 64 << 10,
            frame: 64 << 10,
            pipeline: 256,
            websocket_message: 4 << 20,
            sse_event: 1 << 20,
        }
    }
}
