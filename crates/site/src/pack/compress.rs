//! What is computed for each file: its kind, its digest, its encoded variants.

use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use flate2::Compression;
use flate2::read::GzEncoder;
use sha2::{Digest, Sha256};

use super::File;
use super::kind::Kind;
use crate::Encoding;

/// A file with all that is served for it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub path: String,
    pub content: Vec<u8>,
    pub modified: u64,
    pub content_type: String,
    pub digest: [u8; 32],
    gzip: Option<Vec<u8>>,
    brotli: Option<Vec<u8>>,
}

impl Prepared {
    /// The content in this encoding, if there is such a variant.
    pub(super) fn variant(&self, encoding: Encoding) -> Option<&[u8]> {
        match encoding {
            Encoding::Identity => Some(&self.content),
            Encoding::Gzip => self.gzip.as_deref(),
            Encoding::Brotli => self.brotli.as_deref(),
        }
    }
}

/// Prepares all files, on all processors. The result does not depend on their number.
pub(super) fn prepare(files: Vec<File>) -> Vec<Prepared> {
    let kinds: Vec<Kind> = files.iter().map(|file| Kind::of(&file.path, &file.content)).collect();
    let sizes = files.iter().zip(&kinds).filter(|(_, kind)| kind.compressible);
    let effort = Effort::for_size(sizes.map(|(file, _)| file.content.len()).sum());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some(file), Some(kind)) = (files.get(index), kinds.get(index)) else { return done };
            done.push((index, variants(&file.content, kind, effort)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(files.len());
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        // A worker ends early only by a panic in an encoder, which is a bug to be seen.
        workers.into_iter().for_each(|worker| done.extend(worker.join().expect("no encoder panics")));
        done
    });
    done.sort_by_key(|(index, _)| *index);
    let computed = done.into_iter().map(|(_, variants)| variants);
    files
        .into_iter()
        .zip(kinds)
        .zip(computed)
        .map(|((file, kind), Variants { digest, gzip, brotli })| Prepared {
            path: file.path,
            content: file.content,
            modified: file.modified,
            content_type: kind.content_type,
            digest,
            gzip,
            brotli,
        })
        .collect()
}

struct Variants {
    digest: [u8; 32],
    gzip: Option<Vec<u8>>,
    brotli: Option<Vec<u8>>,
}

fn variants(content: &[u8], kind: &Kind, effort: Effort) -> Variants {
    let digest = Sha256::digest(content).into();
    let worthwhile = |encoded: Vec<u8>| Some(encoded).filter(|encoded| encoded.len() < content.len());
    let (gzip, brotli) = if kind.compressible {
        (worthwhile(gzip(content, effort)), worthwhile(brotli(content, effort)))
    } else {
        (None, None)
    };
    Variants { digest, gzip, brotli }
}

fn gzip(content: &[u8], effort: Effort) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut encoder = GzEncoder::new(content, Compression::new(effort.gzip));
    encoder.read_to_end(&mut encoded).expect("reading from memory does not fail");
    encoded
}

fn brotli(content: &[u8], effort: Effort) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut encoded, BUFFER, effort.brotli, LARGEST_WINDOW);
    encoder.write_all(content).and_then(|()| encoder.flush()).expect("writing to memory does not fail");
    drop(encoder);
    encoded
}

/// How hard the encoders try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Effort {
    gzip: u32,
    brotli: u32,
}

impl Effort {
    /// The best that does not make a build wait: it depends on how much there is to compress, in bytes, and on nothing else,
    /// so that the same site gives the same archive. Brotli's best manages about 1 MB a second, its 9 ten times that.
    fn for_size(compressible: usize) -> Self {
        match compressible {
            0..0x8_0000 => Self { gzip: 9, brotli: 11 },
            0x8_0000..0x80_0000 => Self { gzip: 9, brotli: 9 },
            _ => Self { gzip: 6, brotli: 5 },
        }
    }
}

/// Bytes that the encoder takes at once.
const BUFFER: usize = 0x1_0000;
/// The largest window that every decoder accepts: 2^22 bytes.
const LARGEST_WINDOW: u32 = 22;
