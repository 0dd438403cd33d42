//! Content codings (RFC 9110 8.4 and 12.5.3): which one a body came in, which one a client takes, and the codecs.
//!
//! Pure but for the processor time it takes. Invariants: what is decoded is bounded in bytes and in window, however small
//! it came; a body that ends early or has bytes behind its end does not decode.

use std::io::{self, Read, Write};

use flate2::{Compression, bufread, write};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The largest window that a `zstd` body may ask for, as a power of two (RFC 9659: 8 MiB).
const ZSTD_WINDOW_LOG: u32 = 23;
/// Decoded bytes looked at in one go.
const PIECE: usize = 32 << 10;
/// Fast levels: a replay must not take longer to code than to send.
const ZSTD_LEVEL: i32 = 1;
/// Shorter bodies fit into a packet or two as they are.
const WORTH_CODING: usize = 1 << 10;

/// A content coding that the gateway reads and writes; in the order in which it prefers to write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls deflate.
    Deflate,
}

/// What a request says about its body's coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// None.
    Plain,
    /// One that is read here.
    Coded(Coding),
    /// One that is not, or several.
    Unreadable,
}

/// Why a body does not decode.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undecodable {
    /// It is larger than allowed.
    #[error("larger than allowed")]
    TooLarge,
    /// It is not what its coding says.
    #[error("not a body in its coding")]
    Damaged(#[from] io::Error),
}

impl Coding {
    const PREFERRED: [Self; 3] = [Self::Zstd, Self::Gzip, Self::Deflate];

    /// Its name in `Content-Encoding`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("x-gzip") {
            return Some(Self::Gzip);
        }
        Self::PREFERRED.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name()))
    }

    /// What `Content-Encoding` announces.
    pub(super) fn announced(headers: &HeaderMap) -> Announced {
        let mut announced = Announced::Plain;
        for name in items(headers, &header::CONTENT_ENCODING).filter(|name| !name.eq_ignore_ascii_case("identity")) {
            announced = match (announced, Self::named(name)) {
                (Announced::Plain, Some(coding)) => Announced::Coded(coding),
                _ => return Announced::Unreadable,
            };
        }
        announced
    }

    /// The coding that a client likes best of those written here; `None` when it likes a plain body as much or better, or
    /// says nothing.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let (mut named, mut plain, mut any) = ([None; 3], None, None);
        for item in items(headers, &header::ACCEPT_ENCODING) {
            let (name, weight) = item.split_once(';').map_or((item, 1000), |(name, rest)| (name.trim(), weight(rest)));
            if name == "*" {
                any = Some(weight);
            } else if name.eq_ignore_ascii_case("identity") {
                plain = Some(weight);
            } else if let Some(coding) = Self::named(name) {
                let place = named.iter_mut().zip(Self::PREFERRED).find(|(_, known)| *known == coding);
                place.into_iter().for_each(|(slot, _)| *slot = Some(weight));
            }
        }
        let weighed = Self::PREFERRED.into_iter().zip(named.map(|own| own.or(any).unwrap_or(0)));
        let (coding, weight) = weighed.rev().max_by_key(|(_, weight)| *weight)?;
        (weight > 0 && weight >= plain.unwrap_or(0)).then_some(coding)
    }

    /// Decodes `coded`, which may not become more than `limit` bytes. `None` when it becomes more than `keep`, which is all
    /// that is ever held.
    pub(super) fn decode(self, coded: &[u8], keep: usize, limit: usize) -> Result<Option<Vec<u8>>, Undecodable> {
        match self {
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(coded)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                read_bounded(&mut decoder, keep, limit)
            }
            Self::Gzip => read_bounded(&mut bufread::MultiGzDecoder::new(coded), keep, limit),
            Self::Deflate => {
                let mut decoder = bufread::ZlibDecoder::new(coded);
                let plain = read_bounded(&mut decoder, keep, limit)?;
                let rest = decoder.into_inner();
                if rest.is_empty() { Ok(plain) } else { Err(io::Error::from(io::ErrorKind::InvalidData).into()) }
            }
        }
    }

    /// `plain` in this coding; `None` when that is not shorter.
    pub(super) fn encode(self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() < WORTH_CODING {
            return None;
        }
        let room = Vec::with_capacity(plain.len() / 2);
        let coded = match self {
            Self::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL),
            Self::Gzip => written(write::GzEncoder::new(room, Compression::fast()), plain, write::GzEncoder::finish),
            Self::Deflate => {
                written(write::ZlibEncoder::new(room, Compression::fast()), plain, write::ZlibEncoder::finish)
            }
        };
        coded.ok().filter(|coded| coded.len() < plain.len())
    }

    /// Its name as a header's value.
    pub(super) const fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

fn written<W: Write>(
    mut encoder: W,
    plain: &[u8],
    finish: impl FnOnce(W) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    encoder.write_all(plain)?;
    finish(encoder)
}

fn read_bounded(decoder: &mut dyn Read, keep: usize, limit: usize) -> Result<Option<Vec<u8>>, Undecodable> {
    let (mut kept, mut length) = (Some(Vec::new()), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let read = decoder.read(&mut piece)?;
        let Some(new) = piece.get(..read).filter(|new| !new.is_empty()) else { return Ok(kept) };
        length += read;
        if length > limit {
            return Err(Undecodable::TooLarge);
        }
        kept = kept.filter(|_| length <= keep);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(new);
        }
    }
}

/// Items of a list header, over all its lines. A line that is no text is one item that nobody knows.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter().map(|line| line.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

/// The `q` among parameters, in thousandths; one that cannot be read counts as a refusal.
fn weight(parameters: &str) -> u16 {
    let mut pairs = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let Some((_, value)) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) else { return 1000 };
    let value = value.trim();
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let thousandths = format!("{part:0<3}");
    match (whole, thousandths.parse::<u16>()) {
        ("1", Ok(0)) => 1000,
        ("0", Ok(part)) if part < 1000 => part,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn a_bodys_coding_is_read_from_all_its_lines() {
        use Announced::{Coded, Plain, Unreadable};
        for (lines, expected) in [
            (&[][..], Plain),
            (&["identity"], Plain),
            (&["", " , "], Plain),
            (&["gzip"], Coded(Coding::Gzip)),
            (&["X-GZip"], Coded(Coding::Gzip)),
            (&["identity, zstd"], Coded(Coding::Zstd)),
            (&["deflate"], Coded(Coding::Deflate)),
            (&["br"], Unreadable),
            (&["gzip, gzip"], Unreadable),
            (&["gzip", "zstd"], Unreadable),
            (&["gzip\u{e9}"], Unreadable),
        ] {
            assert_eq!(Coding::announced(&headers(&header::CONTENT_ENCODING, lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_coding_a_client_likes_best_is_taken() {
        for (lines, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip, deflate, zstd"], Some(Coding::Zstd)),
            (&["gzip, deflate, br"], Some(Coding::Gzip)),
            (&["deflate"], Some(Coding::Deflate)),
            (&["gzip;q=1.0, zstd;q=0.5"], Some(Coding::Gzip)),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000, zstd ; q=0.001"], Some(Coding::Zstd)),
            (&["*"], Some(Coding::Zstd)),
            (&["zstd;q=0, *;q=0.1"], Some(Coding::Gzip)),
            (&["*;q=0"], None),
            (&["br, identity"], None),
            (&["identity;q=0.9, gzip;q=0.8"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Coding::Gzip)),
            (&["identity;q=0, gzip"], Some(Coding::Gzip)),
            (&["br", "X-GZIP"], Some(Coding::Gzip)),
            (&["gzip;q=2"], None),
            (&["gzip;q=nan"], None),
            (&["gzip;level=9"], Some(Coding::Gzip)),
        ] {
            assert_eq!(Coding::accepted(&headers(&header::ACCEPT_ENCODING, lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_encoded_decodes_and_nothing_short_or_damaged_does() {
        let plain = "How do I descale a kettle? ".repeat(200).into_bytes();
        for coding in Coding::PREFERRED {
            let coded = coding.encode(&plain).unwrap();
            assert!(coded.len() < plain.len() / 4, "{coding:?}");
            let decode = |coded: &[u8]| coding.decode(coded, 1 << 20, 1 << 20);
            assert_eq!(decode(&coded).unwrap().unwrap(), plain, "{coding:?}");
            for cut in [coded.len() - 1, coded.len() / 2, 3] {
                assert!(matches!(decode(&coded[..cut]), Err(Undecodable::Damaged(_))), "{coding:?} cut at {cut}");
            }
            assert!(decode(&[&coded[..], b"!"].concat()).is_err(), "{coding:?} with a byte behind its end");
            assert!(decode(b"{\"model\": 1}").is_err(), "{coding:?}");
            assert_eq!(coding.encode(&plain[..100]), None, "small ones stay plain");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_what_is_not_kept_is_not_held() {
        let zeros = vec![0u8; 5 << 20];
        for coding in Coding::PREFERRED {
            let bomb = coding.encode(&zeros).unwrap();
            assert!(matches!(coding.decode(&bomb, 1000, 4 << 20), Err(Undecodable::TooLarge)), "{coding:?}");
            assert_eq!(coding.decode(&bomb, 1000, 5 << 20).unwrap(), None, "{coding:?}");
        }
        let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
        wide.window_log(27).unwrap();
        wide.write_all(&zeros).unwrap();
        let wide = wide.finish().unwrap();
        assert!(Coding::Zstd.decode(&wide, 1 << 20, 8 << 20).is_err(), "a window of 128 MiB is not allocated");
    }
}
