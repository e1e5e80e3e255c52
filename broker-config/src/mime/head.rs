//! Reads what the media type is decided by. Blocking.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::HEAD_BYTES;

/// The first [`HEAD_BYTES`] of `file`, or all of it where it is shorter.
///
/// Where the file's cursor stands does not matter, and it stays there. The file must be a regular
/// one: reading a pipe or a device may wait for ever.
///
/// # Errors
///
/// Any error of reading.
pub fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn the_head_is_read_wherever_the_cursor_stands() {
        for (length, expected) in
            [(0, 0), (5, 5), (HEAD_BYTES, HEAD_BYTES), (3 * HEAD_BYTES, HEAD_BYTES)]
        {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();

            let head = read_head(&file).unwrap();

            assert_eq!(head, content[..expected], "{length}");
            assert_eq!(file.read(&mut [0]).unwrap(), 0, "the cursor is still at the end");
        }
    }
}
