use super::*;

const MS: Duration = Duration::from_millis(1);

fn backlog(files: usize) -> Option<Backlog> {
    Some(Backlog { files, due: 4, most: 12 })
}

#[test]
fn nobody_slows_down_before_merges_were_seen_to_be_behind() {
    let mut progress = Progress::default();
    for files in 0..12 {
        assert_eq!(progress.follow(backlog(files), 1, MS), None, "no time has passed");
    }
    let limit =
        progress.follow(backlog(11), 1, 1101 * MS).expect("it takes 100 ms a file at least");
    assert_eq!(limit, Limit { time: 200 * MS, room: 1 });
    // Due at 4 s, done at 14 s, and 10 files went.
    let mut progress = Progress::default();
    let mut now = Duration::ZERO;
    for files in 0..=10 {
        progress.follow(backlog(files), 0, now);
        now += 1000 * MS;
    }
    progress.follow(backlog(0), 0, 14_000 * MS);
    assert_eq!(progress.per_file, Some(1000 * MS));
    for files in 0..=8 {
        assert_eq!(progress.follow(backlog(files), 0, 15_000 * MS), None);
    }
    let with_sealed = progress.follow(backlog(8), 2, 15_000 * MS);
    let limits = [9, 10, 11, 12, 13].map(|files| progress.follow(backlog(files), 0, 15_000 * MS));
    let limits = limits.map(|limit| limit.expect("merges are behind"));
    assert_eq!(with_sealed, Some(limits[1]), "what is sealed comes");
    assert!(limits.windows(2).all(|pair| pair[1] == pair[0] || pair[1].is_stricter(pair[0])));
    // Twice as quickly as merges at the beginning, then slower, and at last hardly at all.
    let whole = limits.map(|limit| limit.between(0.0, 0.99));
    assert!(500 * MS < whole[0] && whole[0] < 1000 * MS && whole[2] > 1000 * MS, "{whole:?}");
    assert!(whole[3] > 8000 * MS, "{whole:?}");
    assert_eq!(progress.follow(None, 2, 15_000 * MS), None, "a hash index, or an empty one");
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
    progress.follow(backlog(5), 0, 3 * day);
    progress.follow(backlog(1), 0, 3 * day + 400 * MS);
    assert_eq!(progress.per_file, Some(150 * MS), "it is believed slowly that merges are quicker");
}

/// One writer that fills a generation in 0.4 s if it may; a merge takes 2 s and 0.5 s for each file,
/// every third one 4 s more. Without a pace the longest wait is most of a merge.
#[test]
fn a_writer_that_is_paced_never_waits_for_a_merge() {
    let longest = |is_paced: bool| {
        let (mut progress, mut paced) = (Progress::default(), Paced::default());
        let (mut files, mut merging, mut merges) = (0, None::<(usize, Duration)>, 0);
        let (mut now, mut longest, mut entries) = (Duration::ZERO, Duration::ZERO, 0_u64);
        let mut limit = None;
        while now < Duration::from_secs(240) {
            for entry in 0..10_000 {
                if merging.is_some_and(|(_, done)| now >= done) {
                    files -= merging.take().expect("it was looked at").0;
                    limit = progress.follow(backlog(files), 0, now);
                }
                if merging.is_none() && files >= 4 {
                    merges += 1;
                    let more = if merges % 3 == 0 { 4000 * MS } else { Duration::ZERO };
                    let took = 2000 * MS + 500 * MS * u32::try_from(files).expect("few") + more;
                    merging = Some((files, now + took));
                }
                now += 40 * MS / 1000;
                if let Some(limit) = limit.filter(|_| is_paced) {
                    let wait = paced.wait(limit, f64::from(entry) / 10_000.0, now, 1);
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
            limit = progress.follow(backlog(files), 0, now);
        }
        (longest, entries)
    };
    let (stopped, all) = longest(false);
    let (slowed, paced) = longest(true);
    assert!(stopped > 2000 * MS, "{stopped:?}");
    assert!(slowed <= MS, "{slowed:?}, without a pace {stopped:?}");
    assert!(paced * 10 > all * 8, "{paced} entries, without a pace {all}");
}

#[test]
fn a_wait_is_short_and_pieces_add_up() {
    let limit = Limit { time: 4000 * MS, room: 4 };
    let mut paced = Paced::default();
    assert_eq!(paced.wait(limit, 0.5, 7 * MS, 1), None, "from here on");
    assert_eq!(paced.wait(limit, 0.5001, 7 * MS, 1), None, "it is ahead by 0.1 ms");
    let ahead = paced.wait(limit, 0.5004, 7 * MS, 1).expect("it is ahead by 0.46 ms");
    assert!(MS * 2 / 5 < ahead && ahead < MS / 2, "{ahead:?}");
    assert_eq!(paced.wait(limit, 0.6, 7 * MS, 1), Some(MS), "no longer than that");
    assert_eq!(paced.wait(limit, 0.6, 7 * MS, 1000), Some(100 * MS), "a batch of many");
    assert_eq!(paced.wait(limit, 0.6, 200 * MS, 1), None, "it is in time");
    assert_eq!(paced.wait(limit, 0.1, 200 * MS, 1), None, "another generation");
    let last = Limit { room: 1, ..limit };
    assert_eq!(paced.wait(last, 0.3, 200 * MS, 1), None, "another limit");
    let ms = |filled| last.between(0.3, filled).as_millis();
    assert!(ms(0.9) > 4 * 1900 && ms(0.999) > 3 * ms(0.9) && ms(2.0) == ms(1.0));
}
