//! Small files made by hand: every kind, every end, every damage.

use std::io::Cursor;

use super::*;

/// The words of a type: name, kind and number of parts, size or id, then the parts.
fn words_of(kind: u32, parts: u32, extra: &[u32]) -> Vec<u32> {
    [&[1, kind << 24 | parts, 7], extra].concat()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A file with a header of this length and a gap before its sections.
fn file_with(header_len: usize, gap: usize, types: &[u8], strings: &[u8]) -> Vec<u8> {
    let mut file = [&MAGIC.to_ne_bytes()[..], &[VERSION, 0]].concat();
    let lengths = [header_len, gap, types.len(), gap + types.len(), strings.len()];
    file.extend(bytes(&lengths.map(|length| u32::try_from(length).unwrap())));
    file.resize(header_len + gap, 0xee);
    [&file, types, strings].concat()
}

fn file(types: &[u8], strings: &[u8]) -> Vec<u8> {
    file_with(HEADER_BYTES, 0, types, strings)
}

fn open(file: &[u8]) -> Result<Raw<Cursor<&[u8]>>, Damage> {
    Raw::open(Cursor::new(file))
}

fn strings(file: &[u8]) -> Result<Vec<(u32, String)>, Damage> {
    let mut seen = Vec::new();
    open(file)?.each_string(|offset, text| {
        seen.push((offset, String::from_utf8_lossy(text).into_owned()));
    })?;
    Ok(seen)
}

/// (id, position, kind) of every type.
fn heads(file: &[u8]) -> Result<Vec<(u32, u64, u32)>, Damage> {
    let mut seen = Vec::new();
    open(file)?.each_head(|id, at, head| seen.push((id, at, head.kind())))?;
    Ok(seen)
}

/// A type of every kind, with the number of words after its head that the format defines.
fn every_kind() -> Vec<(u32, Vec<u32>)> {
    let extra = |kind, parts, words: usize| (kind, words_of(kind, parts, &vec![9; words]));
    vec![
        extra(kind::INT, 0, 1),
        extra(kind::PTR, 0, 0),
        extra(kind::ARRAY, 0, 3),
        extra(kind::STRUCT, 2, 6),
        extra(kind::UNION, 1, 3),
        extra(kind::ENUM, 3, 6),
        extra(kind::FWD, 0, 0),
        extra(kind::TYPEDEF, 0, 0),
        extra(kind::VOLATILE, 0, 0),
        extra(kind::CONST, 0, 0),
        extra(kind::RESTRICT, 0, 0),
        // The number of parts is the linkage here.
        extra(kind::FUNC, 1, 0),
        extra(kind::FUNC_PROTO, 2, 4),
        extra(kind::VAR, 0, 1),
        extra(kind::DATASEC, 2, 6),
        extra(kind::FLOAT, 0, 0),
        extra(kind::DECL_TAG, 0, 1),
        extra(kind::TYPE_TAG, 0, 0),
        extra(kind::ENUM64, 2, 6),
    ]
}

#[test]
fn other_file_or_byte_order_is_refused() {
    let whole = file(&[], &[0]);
    assert!(open(&whole).is_ok());
    let mut swapped = whole.clone();
    swapped.swap(0, 1);
    let mut version = whole.clone();
    version[2] = 2;
    for wrong in [b"".as_slice(), b"\x7fELF", &[0; 64], &whole[..23], &swapped, &version] {
        assert!(matches!(open(wrong), Err(Damage::NotBtf)), "{wrong:?}");
    }
}

#[test]
fn sections_follow_the_header() {
    let types = bytes(&words_of(kind::PTR, 0, &[]));
    // A header of a later version may be longer.
    let file = file_with(HEADER_BYTES + 8, 4, &types, b"\0a\0");
    assert_eq!(heads(&file).unwrap(), [(1, 36, kind::PTR)]);
    assert_eq!(strings(&file).unwrap(), [(0, String::new()), (1, "a".to_owned())]);
    for field in [8, 12, 16, 20] {
        let mut far = file.clone();
        far[field..field + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        let damage = heads(&far).err().or(strings(&far).err());
        assert!(matches!(damage, Some(Damage::Cut(_))), "{field}: {damage:?}");
    }
}

#[test]
fn types_of_every_length_are_walked() {
    let kinds = every_kind();
    let types: Vec<u32> = kinds.iter().flat_map(|(_, words)| words.clone()).collect();
    let file = file(&bytes(&types), &[0]);
    let seen = heads(&file).unwrap();
    let mut at = HEADER_BYTES as u64;
    let mut raw = open(&file).unwrap();
    let first = seen[0];
    for (index, (kind, words)) in kinds.iter().enumerate() {
        let id = u32::try_from(index).unwrap() + 1;
        assert_eq!(seen[index], (id, at, *kind));
        // Straight, and by walking from the first one.
        for read in [raw.read(id, at), raw.read_after(first.0, first.1, id - 1)] {
            let Type { head, extra } = read.unwrap();
            assert_eq!([head.name, head.info, head.points_at], words[..3]);
            assert_eq!(extra, words[3..]);
        }
        at += 4 * words.len() as u64;
    }
    assert_eq!(seen.len(), kinds.len());
    let after_last = raw.read_after(1, first.1, id_of(seen.len()));
    assert!(matches!(after_last, Err(Damage::Type(20))), "{:?}", after_last.err());
}

fn id_of(index: usize) -> u32 {
    u32::try_from(index).unwrap()
}

#[test]
fn unknown_kind_is_named_in_the_error() {
    let types = [words_of(kind::PTR, 0, &[]), words_of(20, 0, &[])].concat();
    let damage = heads(&file(&bytes(&types), &[0])).unwrap_err();
    assert!(matches!(damage, Damage::UnknownKind { id: 2, kind: 20 }), "{damage}");
}

#[test]
fn cut_off_type_is_an_error() {
    let types = bytes(&words_of(kind::STRUCT, 1, &[1, 2, 3]));
    for length in 1..types.len() {
        let cut = file(&types[..length], &[]);
        let damage = open(&cut).unwrap().read(1, HEADER_BYTES as u64).err();
        assert!(matches!(damage, Some(Damage::Cut(_))), "{length}: {damage:?}");
    }
}

#[test]
fn strings_are_complete_across_chunks() {
    let texts: Vec<String> = (0..3 * CHUNK_BYTES / 10).map(|n| format!("string_{n}")).collect();
    let mut section = vec![0];
    let mut expected = vec![(0, String::new())];
    for text in texts {
        expected.push((u32::try_from(section.len()).unwrap(), text.clone()));
        section.extend(text.as_bytes());
        section.push(0);
    }
    assert!(section.len() > 2 * CHUNK_BYTES);
    assert_eq!(strings(&file(&[], &section)).unwrap(), expected);
}

#[test]
fn string_without_end_is_an_error() {
    for section in [b"\0abc".to_vec(), vec![b'x'; 2 * CHUNK_BYTES]] {
        let result = strings(&file(&[], &section));
        assert!(matches!(result, Err(Damage::Cut(_))), "{result:?}");
    }
}

#[test]
fn head_counts_the_remaining_parts() {
    for (kind, words, parts) in [
        (kind::STRUCT, 6, 2),
        (kind::UNION, 3, 1),
        (kind::ENUM, 6, 3),
        (kind::FUNC_PROTO, 4, 2),
        (kind::INT, 1, 0),
        (kind::ENUM64, 0, 0),
    ] {
        // The flag in the highest bit stays.
        let mut head = Head { info: 1 << 31 | kind << 24 | 0xffff, ..Head::default() };
        head.set_parts(words);
        assert_eq!(head.info, 1 << 31 | kind << 24 | parts);
    }
}
