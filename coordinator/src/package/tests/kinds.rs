//! Ways to make a package that is not what it seems.

mod listed;
mod odd;

use std::path::Path;

use fastrand::Rng;

use super::super::SIGNATURE;
use super::{Member, Parts, gzip, tar, with_listing};

/// What installing a package must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// An error that says this.
    Error(&'static str),
    /// Exactly the files that are listed.
    Files,
    /// One or the other: it depends on where it is broken.
    Either,
}

/// One package.
pub(super) struct Case {
    pub(super) bytes: Vec<u8>,
    pub(super) expected: Expected,
}

/// Makes one; the path is outside the folder that is installed into.
pub(super) type Make = fn(&mut Rng, &Path) -> Case;

/// All ways, by name.
pub(super) fn all() -> Vec<(&'static str, Make)> {
    [ENTRIES, listed::LISTED, odd::ODD].concat()
}

/// A package whose entries are other ones than its list says.
fn entries(rng: &mut Rng, says: &'static str, change: impl FnOnce(&mut Vec<Member>)) -> Case {
    let parts = Parts::new(rng);
    let mut members = parts.members();
    change(&mut members);
    let members = with_listing(parts.listing().to_string(), members);
    Case { bytes: gzip(&tar(&members)), expected: Expected::Error(says) }
}

/// Changes an entry somewhere.
fn one(rng: &mut Rng, says: &'static str, change: impl FnOnce(&mut Member)) -> Case {
    let at = rng.usize(..4);
    entries(rng, says, |members| change(&mut members[at]))
}

fn link(kind: u8, to: &[u8]) -> Member {
    let mut member = Member::new("lib/link", "", false);
    member.set(156, 1, &[kind]);
    member.set(157, 100, to.get(..100).unwrap_or(to));
    member
}

fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

/// Entries that are not what their list says.
const ENTRIES: &[(&str, Make)] = &[
    ("a symbolic link in the place of a file", |rng, outside| {
        let to = bytes_of(outside);
        one(rng, "is a symbolic link", |member| {
            member.set(156, 1, b"2");
            member.set(157, 100, to.get(..100).unwrap_or(&to));
        })
    }),
    ("a symbolic link more", |rng, outside| {
        let at = rng.usize(..4);
        entries(rng, "is a symbolic link", |all| all.insert(at, link(b'2', &bytes_of(outside))))
    }),
    ("a link to a folder, and files through it", |rng, outside| {
        entries(rng, "is a symbolic link", |members| {
            let mut link = link(b'2', &bytes_of(outside));
            link.set(0, 100, b"lib");
            members.insert(0, link);
        })
    }),
    ("a file that names a target", |rng, outside| {
        let to = bytes_of(outside);
        one(rng, "names the target of a link", |member| {
            member.set(157, 100, to.get(..100).unwrap_or(&to));
        })
    }),
    ("a hard link", |rng, outside| {
        let to = if rng.bool() { b"bin/run".to_vec() } else { bytes_of(outside) };
        entries(rng, "is a hard link", |members| members.push(link(b'1', &to)))
    }),
    ("a device or a pipe", |rng, _| {
        let (kind, says) = *rng
            .choice(&[(b'3', "is a device"), (b'4', "is a device"), (b'6', "is a pipe")])
            .unwrap();
        entries(rng, says, |members| members.push(link(kind, b"")))
    }),
    ("another kind", |rng, _| {
        let kind = *rng.choice(b"789ASVMNXIDZ\x7f\xff").unwrap();
        one(rng, "is of kind `", |member| member.set(156, 1, &[kind]))
    }),
    ("a pax header", |rng, _| {
        let kind = *rng.choice(b"xg").unwrap();
        entries(rng, "pax header", |members| {
            let mut pax = Member::new("pax", "20 path=../../escape\n", false);
            pax.set(156, 1, &[kind]);
            members.insert(0, pax);
        })
    }),
    ("a long name of GNU", |rng, _| {
        let kind = *rng.choice(b"LK").unwrap();
        let length = rng.usize(1..100_000);
        entries(rng, "is a long name", |members| {
            let mut long = Member::new("long", "../".repeat(length), false);
            long.set(156, 1, &[kind]);
            members.insert(0, long);
        })
    }),
    ("more than rights in the mode", |rng, _| {
        let mode = *rng.choice(&["0004755", "0002755", "0001777", "0100644", "7777777"]).unwrap();
        one(rng, "with more than rights in it", |member| member.set(100, 8, mode.as_bytes()))
    }),
    ("other rights than listed", |rng, _| {
        entries(rng, "has other rights", |members| {
            members[1].set(100, 8, b"0000755\0");
        })
    }),
    ("an absolute name", |rng, outside| {
        let name = bytes_of(&outside.join("new"));
        one(rng, "", |member| member.set(0, 100, name.get(..100).unwrap_or(&name)))
    }),
    ("an absolute name in two parts", |rng, outside| {
        let prefix = bytes_of(outside);
        one(rng, "", |member| member.set(345, 155, &prefix))
    }),
    ("a name that leads out", |rng, _| {
        let name = *rng.choice(&["../escape", "lib/../../escape", "..", "bin/../bin/run"]).unwrap();
        one(rng, "leads out of its folder", |member| member.set(0, 100, name.as_bytes()))
    }),
    ("a name that leads out by its prefix", |rng, _| {
        let prefix = *rng.choice(&["..", "../..", "a/.."]).unwrap();
        one(rng, "leads out of its folder", |member| member.set(345, 155, prefix.as_bytes()))
    }),
    ("a name that is none", |rng, _| {
        let (name, says): (&[u8], _) = *rng
            .choice(&[
                (&b""[..], "is empty"),
                (b".", "has an empty part"),
                (b"./bin/run", "has an empty part"),
                (b"bin//run", "has an empty part"),
                (b"bin\\run", "has a backslash"),
                (b"bin/\x01", "has a control character"),
                (b"bin/a\nb", "has a control character"),
                (b"bin/\xff\xfe", "is not UTF-8"),
                (b"\xc0\xae\xc0\xae/x", "is not UTF-8"),
                (b"bin/run\0/../x", "goes on after a NUL"),
            ])
            .unwrap();
        one(rng, says, |member| member.set(0, 100, name))
    }),
    ("a file that is not listed", |rng, _| {
        let at = rng.usize(..4);
        entries(rng, "is not listed in", |members| {
            members.insert(at, Member::new("lib/extra", "x", true));
        })
    }),
    ("a file that differs in case only", |rng, _| {
        entries(rng, "is not listed in", |all| all.push(Member::new("LIB/data.txt", "x", false)))
    }),
    ("a file twice", |rng, _| {
        let at = rng.usize(..4);
        entries(rng, "is there twice", |members| members.push(members[at].clone()))
    }),
    ("a file that is missing", |rng, _| {
        let at = rng.usize(..4);
        entries(rng, "is listed and not there", |members| drop(members.remove(at)))
    }),
    ("other bytes of the same length", |rng, _| {
        let at = rng.usize(..3);
        entries(rng, "has another SHA-256", |members| {
            let data = &mut members[at].data;
            match data.last_mut() {
                Some(last) => *last ^= 1,
                None => members[0].data[0] ^= 1,
            }
        })
    }),
    ("fewer or more bytes than listed", |rng, _| {
        let size = rng.u64(..1 << 33);
        one(rng, "and is listed with", |member| {
            let size = format!("{:011o}\0", size + 4096);
            member.set(124, 12, size.as_bytes());
        })
    }),
    ("a size that is no number", |rng, _| {
        let size = *rng
            .choice(&[
                &b"-0000000001\0"[..],
                b"\x80\0\0\0\0\0\0\0\0\0\0\x05",
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                b"            ",
                b"0x00000001\0",
                b"00000000009\0",
            ])
            .unwrap();
        one(rng, "is no number", |member| member.set(124, 12, size))
    }),
    ("the wrong sum of a header", |rng, _| {
        let at = rng.usize(..100);
        one(rng, "the sum of its header is wrong", |member| member.header[at] ^= 0x40)
    }),
    ("no ustar", |rng, _| {
        one(rng, "is not of a ustar archive", |member| member.set(257, 8, b"ustar  \0"))
    }),
    ("bytes after a file", |rng, _| {
        let parts = Parts::new(rng);
        let mut bytes = tar(&with_listing(parts.listing().to_string(), parts.members()));
        // The script is short: what fills its block up is at the end of it.
        let script = bytes.windows(9).position(|at| at == b"#!/bin/sh").unwrap();
        bytes[script + 500] = 1;
        Case { bytes: gzip(&bytes), expected: Expected::Error("followed by bytes of no file") }
    }),
    ("a folder that nothing is in", |rng, _| {
        entries(rng, "nothing is listed in the folder", |members| {
            let mut folder = Member::new("empty", "", true);
            folder.set(156, 1, b"5");
            members.push(folder);
        })
    }),
    ("thousands of folders", |rng, _| {
        entries(rng, "is there twice", |members| {
            let mut folder = Member::new("lib", "", true);
            folder.set(156, 1, b"5");
            members.splice(0..0, std::iter::repeat_n(folder, 5000));
        })
    }),
    ("a folder that has bytes", |rng, _| {
        one(rng, "is a folder that has bytes", |member| {
            member.set(124, 12, b"00000000777\0");
            member.set(156, 1, b"5");
        })
    }),
    ("a second signature", |rng, _| {
        entries(rng, "is not listed in", |all| all.push(Member::new(SIGNATURE, "{}", false)))
    }),
];
