use super::*;

fn joined_of(lens: &[u64]) -> Vec<u64> {
    let joined = joined(lens.iter().copied().zip(0..), 1000);
    let taken = lens.iter().zip(0..).filter(|(_, id)| joined.contains(*id));
    taken.map(|(len, _)| *len).collect()
}

#[test]
fn small_address_spaces_are_joined_when_there_are_many() {
    assert_eq!(joined_of(&[]), []);
    assert_eq!(joined_of(&[7; JOINED_MIN - 1]), []);
    assert_eq!(joined_of(&[7; JOINED_MIN]), [7; JOINED_MIN]);
    let mut lens = vec![1000; 50];
    assert_eq!(joined_of(&lens), [], "none is small");
    lens.extend([7; JOINED_MIN]);
    assert_eq!(joined_of(&lens), [7; JOINED_MIN]);
}

/// One that is longer than the rest together would be copied with each few that come.
#[test]
fn a_long_one_waits_until_the_others_weigh_as_much() {
    let mut lens = vec![10; JOINED_MIN];
    lens.push(81);
    assert_eq!(joined_of(&lens), [10; JOINED_MIN]);
    lens.push(10);
    assert_eq!(joined_of(&lens).len(), JOINED_MIN + 2);
    // With it there would be enough, but not without.
    let mut lens = vec![10; JOINED_MIN - 1];
    lens.push(71);
    assert_eq!(joined_of(&lens), []);
}

/// What is joined each time a flush brings one more: few files at any time, few copies of each byte.
#[test]
fn files_and_copies_grow_with_the_logarithm() {
    let (flushes, small) = (20_000, 1 << 20);
    let (mut lens, mut copied, mut most) = (Vec::<u64>::new(), 0, 0);
    for _ in 0..flushes {
        lens.push(64);
        let joined = joined(lens.iter().copied().zip(0..), small);
        let (mut id, mut sum) = (0, 0);
        lens.retain(|len| {
            let goes = joined.contains(id);
            sum += if goes { *len } else { 0 };
            id += 1;
            !goes
        });
        if sum > 0 {
            lens.push(sum);
            copied += sum;
        }
        most = most.max(lens.len());
    }
    assert!(most <= 4 * JOINED_MIN, "{most} files at once");
    let copies = copied as f64 / (64 * flushes) as f64;
    assert!(copies < 12.0, "each byte is copied {copies} times");
}
