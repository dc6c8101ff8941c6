use super::{LIVES, Program};
use crate::crash::lives::drawn_images;

#[test]
fn a_program_is_its_text() {
    let mut faulty = 0;
    for seed in 0..50 {
        let program = Program::draw(seed, &drawn_images());
        let text = program.to_string();
        assert_eq!(text.parse::<Program>().expect(&text), program);
        let lives = program.lives.len() as u64;
        assert!(LIVES.0 <= lives && lives <= LIVES.1, "{lives} lives");
        faulty += usize::from(program.lives.iter().any(|life| life.fault > 0));
    }
    assert!(5 < faulty && faulty < 45, "{faulty} of 50 have failing calls");
}

#[test]
fn nonsense_is_no_program() {
    for text in ["", "lives", "lives x", "lives 3", "lives 3 | mapped", "lives 3 | a b c d e"] {
        assert!(text.parse::<Program>().is_err(), "{text:?}");
    }
}
