//! Which function an address of this process is in, by the symbol tables of the files that are mapped into it.
//!
//! `pprof` would find names, too, but with readers of debug information, which a release build has not: they were a tenth
//! of the binary. The memory map is that of Linux, the files are ELF of 64 bits with the low byte first; elsewhere a
//! function is called by its address.

use std::fs;
use std::ops::Range;

use crate::base::sort;

/// The files that are mapped into this process.
pub(super) struct Symbols {
    mapped: Vec<Mapped>,
    files: Vec<(String, File)>,
}

/// A part of a file: what is at `addresses` is its bytes from `offset` on.
struct Mapped {
    addresses: Range<u64>,
    offset: u64,
    file: usize,
}

enum File {
    /// Not looked at yet.
    Closed,
    /// Not to be read, or not understood.
    Strange,
    Known(Table),
}

/// What a file says of its functions.
#[derive(Debug, Default)]
struct Table {
    segments: Vec<Segment>,
    /// Where functions are and where their names begin in `names`, by address.
    functions: Vec<(Range<u64>, usize)>,
    /// Names with a zero byte behind each.
    names: Vec<u8>,
}

/// Bytes of a file and the address that they are meant for.
#[derive(Debug)]
struct Segment {
    offset: u64,
    size: u64,
    address: u64,
}

impl Symbols {
    /// The files as they are mapped now.
    pub(super) fn of_this_process() -> Symbols {
        let mut symbols = Symbols { mapped: Vec::new(), files: Vec::new() };
        for line in fs::read_to_string("/proc/self/maps").unwrap_or_default().lines() {
            symbols.map(line);
        }
        symbols
    }

    /// The name of the function that called what is at `address`, or is there.
    pub(super) fn name(&mut self, address: usize) -> String {
        // A return address may be that of the next function already.
        let before = (address as u64).saturating_sub(1);
        self.find(before).unwrap_or_else(|| format!("{address:#x}"))
    }

    /// `start-end permissions offset device inode path`.
    fn map(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_ascii_whitespace();
        let (range, offset) = (words.next()?, words.nth(1)?);
        let path = words.nth(2).filter(|path| path.starts_with('/'))?;
        let (start, end) = range.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let file = self.files.iter().position(|(p, _)| p == path).unwrap_or_else(|| {
            self.files.push((path.to_owned(), File::Closed));
            self.files.len() - 1
        });
        self.mapped.push(Mapped { addresses: hex(start)?..hex(end)?, offset: hex(offset)?, file });
        Some(())
    }

    fn find(&mut self, address: u64) -> Option<String> {
        let mapped = self.mapped.iter().find(|m| m.addresses.contains(&address))?;
        let (path, file) = self.files.get_mut(mapped.file)?;
        if let File::Closed = file {
            *file = fs::read(path).ok().and_then(|bytes| read(&bytes)).map_or(File::Strange, File::Known);
        }
        match file {
            File::Known(table) => table.name(mapped.offset + (address - mapped.addresses.start)),
            File::Closed | File::Strange => None,
        }
    }
}

impl Table {
    /// The name of the function that the byte at `offset` of the file belongs to.
    fn name(&self, offset: u64) -> Option<String> {
        let segment = self.segments.iter().find(|s| (s.offset..s.offset + s.size).contains(&offset))?;
        let address = offset - segment.offset + segment.address;
        let behind = self.functions.partition_point(|(at, _)| at.start <= address);
        let (_, name) = self.functions[..behind].iter().rev().find(|(at, _)| at.contains(&address))?;
        let name = self.names.get(*name..)?.split(|b| *b == 0).next()?;
        Some(format!("{:#}", rustc_demangle::demangle(std::str::from_utf8(name).ok()?)))
    }
}

/// Reads the tables of a file. Field positions and values are those of the ELF specification, 64 bits.
fn read(bytes: &[u8]) -> Option<Table> {
    const LOADED: u32 = 1;
    const ALL_SYMBOLS: u32 = 2;
    const DYNAMIC_SYMBOLS: u32 = 11;
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let mut table = Table::default();
    for head in heads(bytes, long(bytes, 32)?, short(bytes, 54)?, short(bytes, 56)?)? {
        if word(head, 0)? == LOADED {
            let (offset, address, size) = (long(head, 8)?, long(head, 16)?, long(head, 32)?);
            table.segments.push(Segment { offset, size, address });
        }
    }
    let sections: Vec<&[u8]> =
        heads(bytes, long(bytes, 40)?, short(bytes, 58)?, short(bytes, 60)?)?.collect();
    let of_kind = |kind| sections.iter().find(|head| word(head, 4) == Some(kind));
    let symbols = of_kind(ALL_SYMBOLS).or_else(|| of_kind(DYNAMIC_SYMBOLS))?;
    table.names = body(bytes, sections.get(word(symbols, 40)? as usize)?)?.to_vec();
    table.functions = body(bytes, symbols)?.chunks_exact(24).filter_map(function).collect();
    sort::by_key(&mut table.functions, |(at, name)| (at.start, *name));
    Some(table)
}

/// `count` heads of `size` bytes each from `start` on.
fn heads(bytes: &[u8], start: u64, size: u16, count: u16) -> Option<impl Iterator<Item = &[u8]>> {
    let rest = bytes.get(usize::try_from(start).ok()?..)?;
    Some(rest.chunks_exact(usize::from(size.max(1))).take(usize::from(count)))
}

/// The bytes of the section with this head.
fn body<'a>(bytes: &'a [u8], head: &[u8]) -> Option<&'a [u8]> {
    let (start, size) = (usize::try_from(long(head, 24)?).ok()?, usize::try_from(long(head, 32)?).ok()?);
    bytes.get(start..start.checked_add(size)?)
}

/// Where the function is that a symbol names, and where its name begins, if it names one that is in this file.
fn function(symbol: &[u8]) -> Option<(Range<u64>, usize)> {
    const FUNCTION: u8 = 2;
    const INDIRECT_FUNCTION: u8 = 10;
    let (name, kind, section) = (word(symbol, 0)?, symbol.get(4)? & 0xf, short(symbol, 6)?);
    let (start, size) = (long(symbol, 8)?, long(symbol, 16)?);
    let is_one = matches!(kind, FUNCTION | INDIRECT_FUNCTION) && section != 0;
    is_one.then_some((start..start.saturating_add(size.max(1)), name as usize))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn look_me_up() -> usize {
        std::hint::black_box(7)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_function_is_found_by_an_address_inside_it() {
        let name = Symbols::of_this_process().name(look_me_up as fn() -> usize as usize + 2);
        assert!(name.ends_with("symbols::tests::look_me_up"), "{name}");
    }

    #[test]
    fn an_unknown_address_is_its_own_name() {
        assert_eq!(Symbols::of_this_process().name(0x10), "0x10");
    }

    #[test]
    fn files_that_are_cut_off_or_no_elf_have_no_table() {
        let whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(cfg!(not(target_os = "linux")) || read(&whole).is_some_and(|t| !t.functions.is_empty()));
        for len in [0, 4, 6, 40, 63, 64, 100, 1000] {
            assert!(read(&whole[..len]).is_none(), "{len}");
        }
        assert!(read(&[b'x'; 1000]).is_none());
    }
}
