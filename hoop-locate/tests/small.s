# Functions, strings and tables of every kind that is looked for, in a file of a few kilobytes.
.globl _start
_start: nop
.globl SSL_read
.type SSL_read,@function
SSL_read: test %eax,%eax
je 1f
ret
1: ret
.size SSL_read,.-SSL_read
.globl SSL_write
.type SSL_write,@function
SSL_write: test %eax,%eax
je 1f
ret
1: ret
.size SSL_write,.-SSL_write
.globl SSL_free
.type SSL_free,@function
SSL_free: test %eax,%eax
je 1f
ret
1: ret
.size SSL_free,.-SSL_free
.globl gnutls_record_send2
.type gnutls_record_send2,@function
gnutls_record_send2: test %eax,%eax
je 1f
ret
1: ret
.size gnutls_record_send2,.-gnutls_record_send2
.globl gnutls_record_recv
.type gnutls_record_recv,@function
gnutls_record_recv: test %eax,%eax
je 1f
ret
1: ret
.size gnutls_record_recv,.-gnutls_record_recv

# A function of BoringSSL that has no name, and raises what SSL_write does.
.balign 16, 0xcc
.fill 16, 1, 0xcc
push %rbx
mov $66, %edx
mov $source, %ecx
mov $16, %edi
call _start
mov $226, %edx
mov $source, %ecx
mov $16, %edi
call _start
mov $215, %edx
mov $source, %ecx
mov $16, %edi
call _start
mov $111, %edx
mov $source, %ecx
mov $16, %edi
call _start
pop %rbx
ret

# Functions of Go, named by their table.
.balign 16
read: cmp 16(%r14), %rsp
ret
write: cmp 16(%r14), %rsp
ret
end: nop

.section .rodata
.string "x"
source: .string "vendor/boringssl/ssl/ssl_lib.cc"
.string "OpenSSL 3.0.17 1 Jul 2025"
.string "Enabled GnuTLS 3.7.9 logging"
.string "/rustls-0.23.46/src"
.string "tls: received unexpected handshake message"

.section .go.buildinfo,"a",@progbits
.ascii "\377 Go buildinf:"
.byte 8, 2
.fill 16, 1, 0
.byte 8
.ascii "go1.19.8"

.section .gopclntab,"a",@progbits
table: .long 0xfffffff1
.byte 0, 0, 1, 8
.quad 2, 0, 0, names-table, 0, 0, 0, functions-table
names: .string "crypto/tls.(*Conn).Read"
second: .string "crypto/tls.(*Conn).Write"
.balign 4
functions: .long read-_start, 20, write-_start, 28, end-_start
.long read-_start, 0, write-_start, second-names
