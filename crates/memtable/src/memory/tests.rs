use super::*;

#[test]
fn memory_is_zeroed_writable_and_as_long_as_asked_for() {
    for len in [0, 1, HUGE_BYTES - 1, HUGE_BYTES, HUGE_BYTES + 1, 3 * HUGE_BYTES] {
        let mut memory = Memory::zeroed(len);
        assert_eq!(memory.len(), len);
        assert!(memory.iter().all(|byte| *byte == 0));
        memory.fill(7);
        assert!(memory.iter().all(|byte| *byte == 7));
    }
    assert_eq!(Memory::empty().len(), 0);
}

#[test]
fn only_what_is_large_is_mapped_by_itself() {
    assert!(matches!(Memory::zeroed(HUGE_BYTES - 1), Memory::Heap(_)));
    assert!(matches!(Memory::zeroed(HUGE_BYTES), Memory::Mapped(_)));
}
