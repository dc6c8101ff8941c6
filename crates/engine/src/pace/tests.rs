use super::*;

const MS: Duration = Duration::from_millis(1);

fn backlog(files: usize) -> Option<Backlog> {
    Some(Backlog { files, due: 4, most: 12 })
}

#[test]
fn nobody_slows_down_before_merges_were_seen_to_be_behind() {
    let mut progress = Progress::default();
    for files in 0..12 {
        assert_eq!(progress.follow(backlog(files), 1, MS), Duration::ZERO, "nothing was measured");
    }
    // Due at 4 s, done at 14 s, and 10 files went.
    let mut progress = Progress::default();
    for files in 0..=10 {
        progress.follow(backlog(files), 0, files as u32 * 1000 * MS);
    }
    progress.follow(backlog(0), 0, 14_000 * MS);
    assert_eq!(progress.per_file, Some(1000 * MS));
    for files in 0..=8 {
        assert_eq!(progress.follow(backlog(files), 0, 15_000 * MS), Duration::ZERO);
    }
    let with_sealed = progress.follow(backlog(8), 2, 15_000 * MS);
    let paces: Vec<_> =
        (9..=13).map(|files| progress.follow(backlog(files), 0, 15_000 * MS)).collect();
    assert!(paces.is_sorted() && paces[0] < 1000 * MS && paces[2] > 1000 * MS, "{paces:?}");
    assert_eq!(with_sealed, paces[1], "what is sealed comes");
    assert_eq!(
        progress.follow(None, 2, 15_000 * MS),
        Duration::ZERO,
        "a hash index, or an empty one"
    );
}

/// A database that was idle for a day does not think that its merge took a day.
#[test]
fn time_in_which_no_merge_was_due_does_not_count() {
    let mut progress = Progress::default();
    progress.follow(backlog(3), 0, MS);
    let day = Duration::from_secs(86_400);
    progress.follow(backlog(4), 0, day);
    progress.follow(backlog(0), 0, day + 400 * MS);
    assert_eq!(progress.per_file, Some(100 * MS));
    progress.follow(backlog(4), 0, 2 * day);
    progress.follow(backlog(5), 0, 2 * day + 100 * MS);
    progress.follow(backlog(1), 0, 2 * day + 800 * MS);
    assert_eq!(progress.per_file, Some(200 * MS));
}

/// One writer that fills a generation in 0.4 s if it may, one merge that takes 2 s and 0.5 s for each
/// file: without a pace the longest wait is most of a merge.
#[test]
fn a_writer_that_is_paced_never_waits_for_a_whole_merge() {
    let longest = |is_paced: bool| {
        let (mut progress, mut paced) = (Progress::default(), Paced::default());
        let (mut files, mut merging) = (0, None::<(usize, Duration)>);
        let (mut now, mut longest, mut entries) = (Duration::ZERO, Duration::ZERO, 0_u64);
        let mut lasts = Duration::ZERO;
        while now < Duration::from_secs(120) {
            for entry in 0..10_000 {
                if merging.is_some_and(|(_, done)| now >= done) {
                    files -= merging.take().expect("it was looked at").0;
                    lasts = progress.follow(backlog(files), 0, now);
                }
                if merging.is_none() && files >= 4 {
                    merging = Some((files, now + 2000 * MS + files as u32 * 500 * MS));
                }
                now += 40 * MS / 1000;
                if is_paced && lasts > Duration::ZERO {
                    let wait = paced.wait(lasts, f64::from(entry) / 10_000.0, now, 1);
                    let wait = wait.unwrap_or_default();
                    now += wait;
                    longest = longest.max(wait);
                }
                entries += 1;
            }
            if files >= 12 {
                let (_, done) = merging.expect("writers wait for it");
                longest = longest.max(done.saturating_sub(now));
                now = now.max(done);
                files -= merging.take().expect("it was looked at").0;
                progress.follow(backlog(files), 0, now);
            }
            files += 1;
            lasts = progress.follow(backlog(files), 0, now);
        }
        (longest, entries)
    };
    let (stopped, all) = longest(false);
    let (slowed, paced) = longest(true);
    assert!(stopped > 2000 * MS, "{stopped:?}");
    assert!(slowed < stopped / 4, "{slowed:?}, without a pace {stopped:?}");
    assert!(paced * 10 > all * 9, "{paced} entries, without a pace {all}");
}

#[test]
fn a_wait_is_short_and_pieces_add_up() {
    let mut paced = Paced::default();
    assert_eq!(paced.wait(1000 * MS, 0.5, 7 * MS, 1), None, "from here on");
    assert_eq!(paced.wait(1000 * MS, 0.5001, 7 * MS, 1), None, "it is ahead by 0.1 ms");
    assert_eq!(paced.wait(1000 * MS, 0.5004, 7 * MS, 1), Some(MS * 2 / 5));
    assert_eq!(paced.wait(1000 * MS, 0.6, 7 * MS, 1), Some(MS), "no longer than that");
    assert_eq!(paced.wait(1000 * MS, 0.6, 7 * MS, 1000), Some(100 * MS), "a batch of many");
    assert_eq!(paced.wait(1000 * MS, 0.6, 107 * MS, 1), None, "it is in time");
    assert_eq!(paced.wait(1000 * MS, 0.1, 107 * MS, 1), None, "another generation");
    assert_eq!(paced.wait(10 * MS, 0.3, 107 * MS, 1), None, "another pace");
    assert_eq!(paced.wait(10 * MS, 0.4, 107 * MS, 1), Some(MS));
}
