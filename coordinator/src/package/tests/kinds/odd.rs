//! Bytes that are broken, and packages that are odd and do no harm.

use fastrand::Rng;

use super::super::super::LISTING;
use super::super::{Member, Parts, gzip, tar, with_listing};
use super::{Case, Expected, Make};

fn honest(rng: &mut Rng) -> Vec<u8> {
    let parts = Parts::new(rng);
    tar(&with_listing(parts.listing().to_string(), parts.members()))
}

fn error(bytes: Vec<u8>, says: &'static str) -> Case {
    Case { bytes, expected: Expected::Error(says) }
}

fn either(bytes: Vec<u8>) -> Case {
    Case { bytes, expected: Expected::Either }
}

fn flip(rng: &mut Rng, bytes: &mut [u8]) {
    for _ in 0..rng.usize(1..20) {
        let at = rng.usize(..bytes.len());
        bytes[at] ^= 1 << rng.u8(..8);
    }
}

pub(super) const ODD: &[(&str, Make)] = &[
    ("flipped bits", |rng, _| {
        let mut bytes = gzip(&honest(rng));
        flip(rng, &mut bytes);
        either(bytes)
    }),
    ("flipped bits under a right sum", |rng, _| {
        let mut bytes = honest(rng);
        flip(rng, &mut bytes);
        either(gzip(&bytes))
    }),
    ("flipped bits of a header", |rng, _| {
        let parts = Parts::new(rng);
        let mut members = with_listing(parts.listing().to_string(), parts.members());
        let at = rng.usize(..members.len());
        for _ in 0..rng.usize(1..6) {
            let (byte, bit) = (rng.usize(..512), rng.u8(..8));
            members[at].header[byte] ^= 1 << bit;
        }
        // With a right sum.
        members[at].set(500, 0, b"");
        either(gzip(&tar(&members)))
    }),
    ("random bytes in a header", |rng, _| {
        let parts = Parts::new(rng);
        let mut members = with_listing(parts.listing().to_string(), parts.members());
        let at = rng.usize(..members.len());
        rng.fill(&mut members[at].header);
        members[at].set(500, 0, b"");
        error(gzip(&tar(&members)), "entry ")
    }),
    ("cut off", |rng, _| {
        let bytes = gzip(&honest(rng));
        let length = rng.usize(20..bytes.len());
        error(bytes[..length].to_vec(), "entry ")
    }),
    ("cut off under a right sum", |rng, _| {
        let bytes = honest(rng);
        let length = rng.usize(..bytes.len() - 512);
        error(gzip(&bytes[..length]), "entry ")
    }),
    ("no archive at all", |rng, _| {
        let bytes = *rng
            .choice(&[&b""[..], b"\x1f", b"PK\x03\x04", b"#!/bin/sh\n", b"\x1f\x8c\x08"])
            .unwrap();
        error(bytes.to_vec(), "it is not made by gzip")
    }),
    ("random bytes after the magic ones", |rng, _| {
        let mut bytes = vec![0; rng.usize(2..5000)];
        rng.fill(&mut bytes);
        bytes[..2].copy_from_slice(b"\x1f\x8b");
        error(bytes, "entry 1")
    }),
    ("nothing but gzip", |rng, _| {
        let bytes = vec![0; rng.usize(..5000)];
        error(gzip(&bytes), "entry 1")
    }),
    ("gigabytes of nothing", |_, _| error(gzip(&vec![0; 20 << 20]), "zeros follow the end")),
    ("something after the end", |rng, _| {
        let mut bytes = honest(rng);
        let length = bytes.len();
        bytes.resize(length + rng.usize(1..2000), 0);
        *bytes.last_mut().unwrap() = 1;
        error(gzip(&bytes), "something follows the end")
    }),
    ("many zeros after the end", |rng, _| {
        let mut bytes = honest(rng);
        bytes.resize(bytes.len() + (8 << 20), 0);
        error(gzip(&bytes), "zeros follow the end")
    }),
    ("a second package behind the first", |rng, _| {
        let (one, two) = (gzip(&honest(rng)), gzip(&honest(rng)));
        error([one, two].concat(), "something follows the package")
    }),
    ("no list", |rng, _| error(gzip(&tar(&Parts::new(rng).members())), "this is not a package")),
    ("the list at the end", |rng, _| {
        let parts = Parts::new(rng);
        let mut members = parts.members();
        members.push(Member::new(LISTING, parts.listing().to_string(), false));
        error(gzip(&tar(&members)), "this is not a package")
    }),
    ("the list twice", |rng, _| {
        let parts = Parts::new(rng);
        let listing = parts.listing().to_string();
        let members = with_listing(listing.clone(), with_listing(listing, parts.members()));
        error(gzip(&tar(&members)), "is not listed in")
    }),
    ("the list as a link", |rng, outside| {
        let parts = Parts::new(rng);
        let mut members = with_listing(parts.listing().to_string(), parts.members());
        members[0].set(156, 1, b"2");
        members[0].set(157, 100, &super::bytes_of(outside)[..20]);
        error(gzip(&tar(&members)), "is a symbolic link")
    }),
    ("a header of gzip with names in it", |rng, _| {
        let plain = gzip(&honest(rng));
        let mut bytes = plain[..10].to_vec();
        bytes[3] |= 8;
        bytes.resize(10 + rng.usize(1..100), b'n');
        bytes.push(0);
        bytes.extend_from_slice(&plain[10..]);
        Case { bytes, expected: Expected::Files }
    }),
    ("a header of gzip without an end", |rng, _| {
        let mut bytes = gzip(&honest(rng))[..10].to_vec();
        bytes[3] |= 8;
        bytes.resize(rng.usize(100_000..3_000_000), b'n');
        error(bytes, "entry 1")
    }),
    ("honest", |rng, _| Case { bytes: gzip(&honest(rng)), expected: Expected::Files }),
    ("honest, by another program", |rng, _| {
        let parts = Parts::new(rng);
        let mut members = parts.members();
        rng.shuffle(&mut members);
        for member in &mut members {
            member.set(108, 8, b"0001750\0");
            member.set(136, 12, b"14700000000\0");
            member.set(265, 32, b"somebody");
        }
        let mut folder = Member::new("lib", "", true);
        folder.set(0, 100, b"lib/");
        folder.set(156, 1, b"5");
        members.insert(0, folder);
        let mut bytes = tar(&with_listing(parts.listing().to_string(), members));
        bytes.resize(bytes.len().next_multiple_of(10_240), 0);
        Case { bytes: gzip(&bytes), expected: Expected::Files }
    }),
];
