//! PURE: the headers of a tar archive, as far as packages use them: ustar, regular files and
//! folders. Nothing that makes one entry mean another (long names, pax, sparse files) is understood.

use super::EntryName;

/// Bytes of a header; data is filled up to a multiple of it.
pub(super) const BLOCK: usize = 512;

const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const SUM: (usize, usize) = (148, 8);
const KIND: usize = 156;
const LINK: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 8);
const PREFIX: (usize, usize) = (345, 155);
/// Of POSIX, version 00.
const USTAR: &[u8; 8] = b"ustar\x0000";

/// One block of an archive.
pub(super) type Block = [u8; BLOCK];

/// An entry that may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it lies.
    pub(super) name: EntryName,
    /// Bytes that follow.
    pub(super) size: u64,
    /// What it is.
    pub(super) kind: Kind,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File { executable: bool },
    Folder,
}

fn field(block: &Block, (at, length): (usize, usize)) -> &[u8] {
    block.get(at..at + length).unwrap_or_default()
}

fn put(block: &mut Block, (at, length): (usize, usize), bytes: &[u8]) {
    let place = block.get_mut(at..at + length).unwrap_or_default();
    for (to, from) in place.iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// The sum of all bytes, those of the sum itself counted as spaces.
fn sum(block: &Block) -> u64 {
    let is_sum = |at: &usize| (SUM.0..SUM.0 + SUM.1).contains(at);
    block
        .iter()
        .enumerate()
        .map(|(at, byte)| u64::from(if is_sum(&at) { b' ' } else { *byte }))
        .sum()
}

/// The header of a file; the same for the same file, whoever it belongs to and however old it is.
pub(super) fn header(name: &EntryName, size: u64, executable: bool) -> Block {
    let mut block = [0; BLOCK];
    let (prefix, last) = name.split();
    put(&mut block, NAME, last.as_bytes());
    put(&mut block, MODE, if executable { b"0000755\0" } else { b"0000644\0" });
    put(&mut block, UID, b"0000000\0");
    put(&mut block, GID, b"0000000\0");
    put(&mut block, SIZE, format!("{size:011o}\0").as_bytes());
    put(&mut block, MTIME, b"00000000000\0");
    put(&mut block, (KIND, 1), b"0");
    put(&mut block, MAGIC, USTAR);
    put(&mut block, PREFIX, prefix.as_bytes());
    let sum = format!("{:06o}\0 ", sum(&block));
    put(&mut block, SUM, sum.as_bytes());
    block
}

/// Reads a header; `None` is the end of the archive.
///
/// # Errors
///
/// Which rule it breaks, with its name where that can be told.
pub(super) fn read(block: &Block) -> Result<Option<Entry>, String> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if number(field(block, SUM)) != Some(sum(block)) {
        return Err("the sum of its header is wrong: the archive is broken".to_owned());
    }
    let shown = name(block).map_or_else(|_| String::new(), |name| format!("`{name}` "));
    let refuse = |what: &str| Err(format!("{shown}{what}"));
    let kind = block.get(KIND).copied().unwrap_or_default();
    match kind {
        b'0' | 0 | b'5' => {}
        b'1' => return refuse("is a hard link; only files and folders may be in it"),
        b'2' => return refuse("is a symbolic link; only files and folders may be in it"),
        b'3' | b'4' => return refuse("is a device; only files and folders may be in it"),
        b'6' => return refuse("is a pipe; only files and folders may be in it"),
        b'L' | b'K' | b'x' | b'g' => return refuse("is a long name or a pax header"),
        other => {
            let other = [other];
            let kind = other.escape_ascii();
            return refuse(&format!("is of kind `{kind}`; only files and folders may be in it"));
        }
    }
    if field(block, MAGIC) != USTAR {
        return refuse("is not of a ustar archive");
    }
    if field(block, LINK).iter().any(|byte| *byte != 0) {
        return refuse("is a file that names the target of a link");
    }
    let (Some(size), Some(mode)) = (number(field(block, SIZE)), number(field(block, MODE))) else {
        return refuse("has a size or a mode that is no number");
    };
    if mode & !0o777 != 0 {
        return refuse(&format!("has mode {mode:o}, with more than rights in it"));
    }
    let mut name = name(block)?;
    let kind = if kind == b'5' {
        if size != 0 {
            return refuse("is a folder that has bytes");
        }
        // Other programs end the names of folders so.
        name.truncate(name.strip_suffix('/').unwrap_or(&name).len());
        Kind::Folder
    } else {
        Kind::File { executable: mode & 0o100 != 0 }
    };
    let name = name.parse::<EntryName>().map_err(|error| error.to_string())?;
    Ok(Some(Entry { name, size, kind }))
}

fn name(block: &Block) -> Result<String, String> {
    let cut = |bytes: &[u8]| -> Result<String, String> {
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(length);
        if rest.iter().any(|byte| *byte != 0) {
            let shown = text.escape_ascii();
            return Err(format!("the name `{shown}` goes on after a NUL"));
        }
        let shown = || format!("the name `{}` is not UTF-8", text.escape_ascii());
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| shown())
    };
    let last = cut(field(block, NAME))?;
    let prefix = cut(field(block, PREFIX))?;
    Ok(if prefix.is_empty() { last } else { format!("{prefix}/{last}") })
}

/// An octal number, filled up with zeros or spaces.
fn number(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?.trim_matches(|c| c == ' ' || c == '\0');
    let is_octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    is_octal.then(|| u64::from_str_radix(text, 8).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Block)) -> Block {
        let mut block = header(&"a/b".parse().unwrap(), 5, false);
        change(&mut block);
        let sum = format!("{:06o}\0 ", super::sum(&block));
        put(&mut block, SUM, sum.as_bytes());
        block
    }

    #[test]
    fn what_is_written_is_read_again() {
        let long = format!("{}/{}", "f".repeat(150), "p".repeat(90));
        for name in ["a", "a/b/c", "ä", &long] {
            for (size, executable) in [(0, false), (1, true), (0o77_777_777_777, false)] {
                let name: EntryName = name.parse().unwrap();
                let read = read(&header(&name, size, executable)).unwrap();
                assert_eq!(read, Some(Entry { name, size, kind: Kind::File { executable } }));
            }
        }
        assert_eq!(read(&[0; BLOCK]), Ok(None));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let kind = |kind: u8| with(|block| put(block, (KIND, 1), &[kind]));
        for (block, problem) in [
            (kind(b'1'), "`a/b` is a hard link"),
            (kind(b'2'), "`a/b` is a symbolic link"),
            (kind(b'3'), "is a device"),
            (kind(b'4'), "is a device"),
            (kind(b'6'), "is a pipe"),
            (kind(b'7'), "is of kind `7`"),
            (kind(b'S'), "is of kind `S`"),
            (kind(b'L'), "long name"),
            (kind(b'K'), "long name"),
            (kind(b'x'), "pax"),
            (kind(b'g'), "pax"),
            (kind(b'5'), "is a folder that has bytes"),
            (kind(0xff), "is of kind `\\xff`"),
            (with(|block| put(block, MAGIC, b"ustar  \0")), "not of a ustar archive"),
            (with(|block| put(block, LINK, b"/etc/passwd")), "target of a link"),
            (with(|block| put(block, MODE, b"0004755\0")), "has mode 4755"),
            (with(|block| put(block, MODE, b"0002644\0")), "has mode 2644"),
            (with(|block| put(block, MODE, b"00x0644\0")), "no number"),
            (with(|block| put(block, SIZE, b"-0000000001\0")), "no number"),
            (with(|block| put(block, SIZE, b"\x80\0\0\0\0\0\0\0\0\0\0\x05")), "no number"),
            (with(|block| put(block, SIZE, &[b' '; 12])), "no number"),
            (with(|block| put(block, NAME, b"/etc/passwd")), "is not relative"),
            (with(|block| put(block, NAME, b"../b")), "leads out"),
            (with(|block| put(block, PREFIX, b"..")), "leads out"),
            (with(|block| put(block, PREFIX, b"/")), "is not relative"),
            (with(|block| put(block, NAME, b"\xff/b")), "is not UTF-8"),
            (with(|block| put(block, NAME, b"a\0b")), "goes on after a NUL"),
            (with(|block| put(block, NAME, b"\0\0\0")), "is empty"),
        ] {
            let error = read(&block).unwrap_err();
            assert!(error.contains(problem), "{problem}: {error}");
        }
        let mut broken = header(&"a".parse().unwrap(), 5, false);
        broken[3] = 1;
        assert!(read(&broken).unwrap_err().contains("the sum of its header"));
    }
}
