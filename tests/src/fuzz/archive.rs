//! Makes a package of an archive in which anything may have been changed.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK: usize = 512;
const MAGIC: std::ops::Range<usize> = 257..262;
const SUM: std::ops::Range<usize> = 148..156;

/// Compresses an archive after the sums of its headers were made right again: otherwise hardly a
/// change would come past them.
pub(super) fn gzip(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    for block in archive.chunks_exact_mut(BLOCK) {
        if block.get(MAGIC) != Some(b"ustar".as_slice()) {
            continue;
        }
        if let Some(sum) = block.get_mut(SUM) {
            sum.fill(b' ');
        }
        let all: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        if let Some(sum) = block.get_mut(SUM) {
            sum.copy_from_slice(format!("{all:06o}\0 ").as_bytes());
        }
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    // Writing to memory cannot fail.
    packed.write_all(&archive).and_then(|()| packed.finish()).unwrap_or_default()
}
