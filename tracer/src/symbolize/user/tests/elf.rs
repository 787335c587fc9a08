//! A small ELF file: code, a build id, and one symbol for the code.

/// The build id of every such file, hex.
pub(super) const BUILD_ID: &str = "abababababababababababababababababababab";
/// Offset of the code in the file, and its address.
pub(super) const CODE: u64 = 0x1000;
const CODE_BYTES: u64 = 16;

/// A file whose code has this name.
pub(super) fn with_symbol(name: &str) -> Vec<u8> {
    let note = [
        &4_u32.to_le_bytes()[..],
        &20_u32.to_le_bytes(),
        &3_u32.to_le_bytes(),
        b"GNU\0",
        &[0xab; 20],
    ];
    let note = note.concat();
    // The null symbol, then a global function in section 1.
    let symbol = [
        &[0; 24][..],
        &1_u32.to_le_bytes(),
        &[0x12, 0],
        &1_u16.to_le_bytes(),
        &CODE.to_le_bytes(),
        &CODE_BYTES.to_le_bytes(),
    ];
    let symbols = symbol.concat();
    let strings = format!("\0{name}\0").into_bytes();
    let names = b"\0.text\0.note.gnu.build-id\0.symtab\0.strtab\0.shstrtab\0".to_vec();
    let name_of = |section: &[u8]| {
        let found = names.windows(section.len()).position(|window| window == section);
        u32::try_from(found.unwrap()).unwrap()
    };
    let mut file = vec![0; usize::try_from(CODE + CODE_BYTES).unwrap()];
    let mut headers = vec![0; 64];
    let text = (CODE, CODE_BYTES);
    headers.extend(section(name_of(b".text"), 1, 6, CODE, text, 0, 0, 0));
    for (name, kind, content, link, info, entry) in [
        (&b".note.gnu.build-id"[..], 7, &note, 0, 0, 0),
        (b".symtab", 2, &symbols, 4, 1, 24),
        (b".strtab", 3, &strings, 0, 0, 0),
        (b".shstrtab", 3, &names, 0, 0, 0),
    ] {
        let place = (file.len() as u64, content.len() as u64);
        file.extend(content);
        file.resize(file.len().next_multiple_of(8), 0);
        headers.extend(section(name_of(name), kind, 0, 0, place, link, info, entry));
    }
    let start = header(file.len() as u64);
    file[..start.len()].copy_from_slice(&start);
    file.extend(headers);
    file
}

/// The header of the file, and one segment for all of the code.
fn header(sections: u64) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    for half in [3_u16, 62] {
        header.extend(half.to_le_bytes());
    }
    header.extend(1_u32.to_le_bytes());
    for word in [CODE, 64, sections] {
        header.extend(word.to_le_bytes());
    }
    header.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 6, 5] {
        header.extend(half.to_le_bytes());
    }
    for word in [1_u32, 5] {
        header.extend(word.to_le_bytes());
    }
    for word in [CODE, CODE, CODE, CODE_BYTES, CODE_BYTES, 0x1000] {
        header.extend(word.to_le_bytes());
    }
    header
}

#[expect(clippy::too_many_arguments, reason = "the fields of the header, in their order")]
fn section(
    name: u32,
    kind: u32,
    flags: u64,
    address: u64,
    (offset, size): (u64, u64),
    link: u32,
    info: u32,
    entry: u64,
) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(name.to_le_bytes());
    header.extend(kind.to_le_bytes());
    for word in [flags, address, offset, size] {
        header.extend(word.to_le_bytes());
    }
    header.extend(link.to_le_bytes());
    header.extend(info.to_le_bytes());
    for word in [4_u64, entry] {
        header.extend(word.to_le_bytes());
    }
    header
}
