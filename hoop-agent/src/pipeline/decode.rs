//! Bytes of the ring buffer become an [`Event`].

use hoop_common::event::{
    ArgsEvent, Enforcement, EventKind, ExecEvent, ExitEvent, ForkEvent, GuardEvent, Header, Hook,
    MoveEvent, NetEvent, SocketEvent, Verdict,
};
use zerocopy::FromBytes;

use super::event::{Args, Event, Exec, Guard, Judgement, Move, Net, Socket};

/// Why bytes are no event. That never happens between programs and daemon of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Fewer bytes than the event's fixed part has.
    #[error("{len} bytes are too few for the fixed part of an event of {need}")]
    Short {
        /// How many there are.
        len: usize,
        /// How many there must be.
        need: usize,
    },
    /// The header's size, or the lengths of the variable parts, do not add up to the bytes.
    #[error("the event says that it has {said} bytes, and has {len}")]
    Size {
        /// What the event says.
        said: usize,
        /// How many there are.
        len: usize,
    },
    /// The header's kind is none of [`EventKind`].
    #[error("unknown kind of event {0}")]
    Kind(u16),
    /// The header's sequence is outside 1 to 2^63 - 1.
    #[error("impossible sequence number {0}")]
    Sequence(u64),
    /// A hook that does not report this kind of event.
    #[error("unexpected hook {0}")]
    Hook(u8),
    /// The verdict is none of [`Verdict`].
    #[error("unknown verdict {0}")]
    Verdict(u8),
    /// The enforcement is none of [`Enforcement`].
    #[error("unknown enforcement {0}")]
    Enforcement(u8),
}

/// Decodes one event. Bytes may have any alignment.
///
/// # Errors
///
/// [`Malformed`] for everything that is not exactly one event.
pub fn decode(bytes: &[u8]) -> Result<Event<'_>, Malformed> {
    let (header, _) = fixed::<Header>(bytes)?;
    if header.size as usize != bytes.len() {
        return Err(Malformed::Size {
            said: header.size as usize,
            len: bytes.len(),
        });
    }
    if header.sequence == 0 || header.sequence > i64::MAX.cast_unsigned() {
        return Err(Malformed::Sequence(header.sequence));
    }
    let kind = EventKind::from_number(header.kind).ok_or(Malformed::Kind(header.kind))?;
    Ok(match kind {
        EventKind::Fork => Event::Fork(whole::<ForkEvent>(bytes)?),
        EventKind::Exec => Event::Exec(exec(bytes)?),
        EventKind::Args => {
            let (fixed, rest) = fixed::<ArgsEvent>(bytes)?;
            let [bytes] = parts(bytes.len(), rest, [fixed.len])?;
            Event::Args(Args { fixed, bytes })
        }
        EventKind::Exit => Event::Exit(whole::<ExitEvent>(bytes)?),
        EventKind::Net => {
            let fixed = whole::<NetEvent>(bytes)?;
            let hook = hook(fixed.hook, |hook| {
                !sees_processes(hook) && !hook.judges_sockets() && !hook.guards()
            })?;
            let verdict = verdict(fixed.verdict)?;
            let enforcement = match (verdict, hook) {
                (Verdict::Deny, Hook::Egress) => Enforcement::Dropped,
                (Verdict::Deny, _) => Enforcement::Refused,
                _ => Enforcement::None,
            };
            let judgement = Judgement {
                hook,
                verdict,
                enforcement,
            };
            Event::Net(Net { fixed, judgement })
        }
        EventKind::Socket => {
            let fixed = whole::<SocketEvent>(bytes)?;
            let verdict = verdict(fixed.verdict)?;
            let judgement = Judgement {
                hook: hook(fixed.hook, Hook::judges_sockets)?,
                verdict,
                enforcement: enforcement(fixed.enforcement)?,
            };
            Event::Socket(Socket { fixed, judgement })
        }
        EventKind::Move => {
            let fixed = whole::<MoveEvent>(bytes)?;
            let hook = hook(fixed.hook, sees_processes)?;
            let judgement = match fixed.verdict {
                0 => None,
                number => Some(verdict(number)?),
            }
            .map(|verdict| Judgement {
                hook,
                verdict,
                enforcement: match verdict {
                    // By the kernel programs, or by the daemon.
                    Verdict::Deny => Enforcement::Killed,
                    _ => Enforcement::None,
                },
            });
            Event::Move(Move { fixed, judgement })
        }
        EventKind::Guard => Event::Guard(guard(bytes)?),
    })
}

fn sees_processes(hook: Hook) -> bool {
    matches!(hook, Hook::CgroupMove | Hook::Fork | Hook::Exec)
}

fn exec(bytes: &[u8]) -> Result<Exec<'_>, Malformed> {
    let (fixed, rest) = fixed::<ExecEvent>(bytes)?;
    let lengths = [fixed.path_len, fixed.cwd_len, fixed.args_len];
    let [path, cwd, args] = parts(bytes.len(), rest, lengths)?;
    let judgement = Judgement {
        hook: hook(fixed.hook, |hook| hook == Hook::Exec)?,
        verdict: verdict(fixed.verdict)?,
        enforcement: enforcement(fixed.enforcement)?,
    };
    Ok(Exec {
        fixed,
        judgement,
        path,
        cwd,
        args,
    })
}

fn guard(bytes: &[u8]) -> Result<Guard<'_>, Malformed> {
    let (fixed, rest) = fixed::<GuardEvent>(bytes)?;
    let [path] = parts(bytes.len(), rest, [fixed.path_len])?;
    let judgement = Judgement {
        hook: hook(fixed.hook, Hook::guards)?,
        verdict: verdict(fixed.verdict)?,
        enforcement: enforcement(fixed.enforcement)?,
    };
    Ok(Guard {
        fixed,
        judgement,
        path,
    })
}

fn hook(number: u8, reports: fn(Hook) -> bool) -> Result<Hook, Malformed> {
    Hook::from_number(number)
        .filter(|&hook| reports(hook))
        .ok_or(Malformed::Hook(number))
}

fn verdict(number: u8) -> Result<Verdict, Malformed> {
    Verdict::from_number(number).ok_or(Malformed::Verdict(number))
}

fn enforcement(number: u8) -> Result<Enforcement, Malformed> {
    Enforcement::from_number(number).ok_or(Malformed::Enforcement(number))
}

/// The fixed part at the front, and what follows it.
fn fixed<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), Malformed> {
    T::read_from_prefix(bytes).map_err(|_| Malformed::Short {
        len: bytes.len(),
        need: size_of::<T>(),
    })
}

/// The fixed part, that nothing follows.
fn whole<T: FromBytes>(bytes: &[u8]) -> Result<T, Malformed> {
    let (fixed, rest) = fixed::<T>(bytes)?;
    let [] = parts(bytes.len(), rest, [])?;
    Ok(fixed)
}

/// Splits what follows the fixed part of an event of `len` bytes; the lengths use it up.
fn parts<const N: usize>(
    len: usize,
    mut rest: &[u8],
    lengths: [u16; N],
) -> Result<[&[u8]; N], Malformed> {
    let sum: usize = lengths.iter().map(|&length| usize::from(length)).sum();
    let size = Malformed::Size {
        said: len - rest.len() + sum,
        len,
    };
    let mut parts = [&[][..]; N];
    for (part, length) in parts.iter_mut().zip(lengths) {
        (*part, rest) = rest.split_at_checked(length.into()).ok_or(size)?;
    }
    if rest.is_empty() {
        Ok(parts)
    } else {
        Err(size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes as _;

    use super::super::testing;
    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        /// A valid header, so that the parts behind it are reached.
        #[test]
        fn no_body_makes_it_panic(
            kind in 0u16..10,
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = testing::header(1).as_bytes().to_vec();
            bytes.extend(&body);
            let mut header = testing::header(1);
            header.kind = kind;
            header.size = u32::try_from(bytes.len())?;
            bytes[..48].copy_from_slice(header.as_bytes());
            let _ = decode(&bytes);
        }

        #[test]
        fn an_event_that_is_cut_or_continued_is_malformed(cut in 0usize..200, more in 1usize..9) {
            let bytes = testing::exec(1, b"/bin/true", b"/", b"true\0", 5);
            let cut = cut % bytes.len();
            prop_assert!(decode(&bytes[..cut]).is_err());
            let mut longer = bytes.clone();
            longer.resize(bytes.len() + more, 0);
            prop_assert!(decode(&longer).is_err());
            // Also when the header says so.
            let mut header = testing::header(2);
            for size in [cut, bytes.len() + more] {
                header.size = u32::try_from(size)?;
                let mut lying = longer[..size].to_vec();
                if let Some(front) = lying.get_mut(..48) {
                    front.copy_from_slice(header.as_bytes());
                }
                prop_assert!(decode(&lying).is_err());
            }
        }
    }

    #[test]
    fn variable_parts_are_where_the_lengths_say() {
        let bytes = testing::exec(1, b"/bin/echo", b"/root", b"echo\0hi\0", 8);
        let Ok(Event::Exec(exec)) = decode(&bytes) else {
            panic!("no exec");
        };
        assert_eq!(
            (exec.path, exec.cwd, exec.args),
            (&b"/bin/echo"[..], &b"/root"[..], &b"echo\0hi\0"[..])
        );
    }

    #[test]
    fn numbers_that_mean_nothing_are_malformed() {
        let net = |change: fn(&mut NetEvent)| {
            let mut event = testing::net(1);
            change(&mut event);
            decode(event.as_bytes()).map(|_| ())
        };
        assert_eq!(net(|_| {}), Ok(()));
        assert_eq!(
            net(|event| event.header.size += 1),
            Err(Malformed::Size {
                said: 113,
                len: 112
            })
        );
        assert_eq!(net(|event| event.hook = 0), Err(Malformed::Hook(0)));
        assert_eq!(net(|event| event.hook = 6), Err(Malformed::Hook(6)));
        assert_eq!(net(|event| event.verdict = 4), Err(Malformed::Verdict(4)));
        assert_eq!(net(|event| event.header.kind = 9), Err(Malformed::Kind(9)));
        let sequence = |number| Err(Malformed::Sequence(number));
        assert_eq!(net(|event| event.header.sequence = 0), sequence(0));
        assert_eq!(
            net(|event| event.header.sequence = u64::MAX),
            sequence(u64::MAX)
        );
    }
}
