use super::*;

#[test]
fn what_is_appended_stays_where_it_is_across_chunks() {
    let mut arena = Arena::default();
    assert_eq!(arena.first(), None);
    let mut held = Vec::new();
    for index in 0..5_000_u32 {
        let bytes = vec![index.to_le_bytes()[0]; index as usize % 1_000 + 1];
        held.push((arena.append(&[&bytes[..1], &bytes[1..]]), bytes));
    }
    let mut at = arena.first();
    for (address, bytes) in &held {
        assert_eq!(at, Some(*address), "walking meets what was appended, in order");
        assert_eq!(&arena.at(*address)[..bytes.len()], bytes);
        at = arena.after(*address, bytes.len());
    }
    assert_eq!(at, None);
}

#[test]
fn nothing_has_the_address_that_means_none() {
    assert_ne!(Arena::default().append(&[b""]), Address::NONE);
    assert_ne!(Arena::default().append(&[&[1; 90_000]]), Address::NONE);
}

#[test]
fn chunks_start_small_and_double_up_to_a_huge_page() {
    let mut arena = Arena::default();
    arena.append(&[&[0; 16]]);
    assert_eq!(arena.chunk_bytes, CHUNK_BYTES_MIN);
    for _ in 0..5 * CHUNK_BYTES_MAX / 1_000 {
        arena.append(&[&[0; 1_000]]);
        let filled: usize = arena.chunks.iter().map(|chunk| chunk.len).sum();
        // The end of each chunk may be too short for the next piece.
        let filled = filled + 1_000 * arena.chunks.len();
        assert!(arena.chunk_bytes <= 2 * filled + 4 * CHUNK_BYTES_MIN);
        assert!(arena.chunks.iter().all(|chunk| chunk.memory.len() <= CHUNK_BYTES_MAX));
    }
    let capacities: usize = arena.chunks.iter().map(|chunk| chunk.memory.len()).sum();
    assert_eq!(arena.chunk_bytes, capacities);
}

#[test]
fn bytes_can_be_changed_in_place() {
    let mut arena = Arena::default();
    let address = arena.append(&[b"abcdef"]);
    arena.overwrite(address, 2, b"XY");
    assert_eq!(&arena.at(address)[..6], b"abXYef");
}
