//! `BoringSSL` without symbols, played by functions of the same structure. The real one, in Bun, is too
//! large to be fetched for every test.

use crate::support::{Workshop, library, locate, offset_of, probe};
use hoop_locate::{Function, How, Kind, Located, Reason, Refusal};
use std::path::PathBuf;

const SOURCE: &str = r#"
#define FILE_NAME "vendor/boringssl/ssl/ssl_lib.cc"
#define FAIL(reason) (ERR_put_error(16, 0, reason, FILE_NAME, __LINE__), -1)
#define ALONE __attribute__((noinline, noipa))
typedef struct { long quic, handshake, left; char *pending; long fatal; } SSL;
volatile int sink;
ALONE void ERR_put_error(int lib, int unused, int reason, const char *file, unsigned line) {
    sink = lib + unused + reason + line + *file;
}
ALONE int SSL_do_handshake(SSL *s) { return sink + (s->handshake == 7); }
ALONE long fill(SSL *s) { return sink + s->fatal; }
ALONE void copy(void *to, const void *from, long n) { __builtin_memcpy(to, from, n); }
ALONE int ssl_read_impl(SSL *s) {
    if (!s->handshake) return FAIL(226);
    while (s->left == 0) {
        int done = SSL_do_handshake(s);
        if (done < 0) return done;
        if (done == 0) return FAIL(215);
        s->left = fill(s);
    }
    return 1;
}
static inline __attribute__((always_inline)) int peek(SSL *s, void *buf, int num) {
    if (s->quic) return FAIL(66);
    int done = ssl_read_impl(s);
    if (done <= 0) return done;
    long n = s->left < num ? s->left : num;
    copy(buf, s->pending, n);
    return n;
}
ALONE int SSL_peek(SSL *s, void *buf, int num) { return peek(s, buf, num); }
#define WRITE(name) ALONE int name(SSL *s, const void *buf, int num) { \
    if (s->quic) return FAIL(66); \
    if (!s->handshake) return FAIL(226); \
    if (SSL_do_handshake(s) == 0) return FAIL(215); \
    if (num < 0) return FAIL(111); \
    copy(s->pending, buf, num); \
    return num; }
#define READ(name) ALONE int name(SSL *s, void *buf, int num) { \
    int n = peek(s, buf, num); \
    if (n <= 0) return n; \
    s->pending += n; \
    s->left -= n; \
    return n; }
READ(SSL_read)
WRITE(SSL_write)
#ifdef TWICE
WRITE(again)
#endif
int main(int argc, char **argv) {
    SSL s = {argc, argc, argc, argv[0], argc};
    int n = SSL_peek(&s, argv[0], argc) + SSL_read(&s, argv[0], argc);
#ifdef TWICE
    n += again(&s, argv[0], argc);
#endif
    return n + SSL_write(&s, argv[0], argc);
}
"#;

fn built(shop: &Workshop, flags: &[&str]) -> PathBuf {
    shop.gcc(
        "a.c",
        SOURCE,
        &[&["-O2", "-fcf-protection=branch", "-w"], flags].concat(),
    )
}

fn refusals(located: &Located) -> Vec<&Refusal> {
    located
        .refusals
        .iter()
        .filter(|refusal| refusal.kind == Kind::BoringSsl)
        .collect()
}

#[test]
fn read_and_write_are_found_by_what_they_raise() {
    let framed = ["-fno-pie", "-no-pie", "-fno-omit-frame-pointer"];
    for flags in [&["-fpie", "-pie"][..], &["-fno-pie", "-no-pie"], &framed] {
        let shop = Workshop::new();
        let file = built(&shop, flags);
        let located = locate(&shop.stripped(&file));
        let library = library(&located, Kind::BoringSsl);
        assert_eq!(library.how, How::Signature);
        for function in [Function::SslRead, Function::SslWrite] {
            let entry = probe(library, function).entry;
            assert_eq!(
                entry,
                offset_of(&file, function.name()),
                "{function} {flags:?}"
            );
        }
        assert!(refusals(&located).is_empty());
    }
}

#[test]
fn a_signature_that_matches_twice_is_refused() {
    let shop = Workshop::new();
    let located = locate(&shop.stripped(&built(&shop, &["-DTWICE", "-no-pie", "-fno-pie"])));
    let probes = &library(&located, Kind::BoringSsl).probes;
    assert!(
        probes
            .iter()
            .all(|probe| probe.function != Function::SslWrite)
    );
    let reason = Reason::Signature {
        function: Function::SslWrite,
        matches: 2,
    };
    assert_eq!(
        refusals(&located),
        [&Refusal {
            kind: Kind::BoringSsl,
            reason
        }]
    );
}

#[test]
fn its_strings_alone_are_refused() {
    let shop = Workshop::new();
    let source = ".globl _start\n_start: ret\n.section .rodata\n.string \"x/ssl/ssl_lib.cc\"\n";
    let located = locate(&shop.gcc("a.s", source, &["-static", "-nostdlib"]));
    let refusal = Refusal {
        kind: Kind::BoringSsl,
        reason: Reason::Stripped,
    };
    assert_eq!(
        (located.libraries, located.refusals),
        (vec![], vec![refusal])
    );
}
