use super::*;

#[test]
fn the_checker_finds_what_it_is_for() {
    let txn = |start, end, reads: &[(u64, &[u64])], appends: &[(u64, u64)]| Txn {
        start,
        end,
        reads: reads
            .iter()
            .map(|(list, read)| Read {
                list: *list,
                count: read.len(),
                digest: read.iter().fold(0, |all, one| digest(all, *one)),
            })
            .collect(),
        appends: appends.to_vec(),
        outcome: Outcome::Committed { durable: false },
    };
    let verdict = |txns: Vec<Txn>, lists: &[(u64, &[u64])]| {
        let lists = lists.iter().map(|(list, elements)| (*list, elements.to_vec())).collect();
        let workers = txns.into_iter().map(|txn| vec![txn]).collect();
        let judge = std::panic::AssertUnwindSafe(|| check(workers, &Lists::new(), &lists));
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let verdict = std::panic::catch_unwind(judge);
        std::panic::set_hook(hook);
        verdict.err().map(|reason| {
            let text = reason.downcast_ref::<String>().cloned();
            text.unwrap_or_else(|| (*reason.downcast_ref::<&str>().expect("a text")).to_owned())
        })
    };
    let says = |verdict: Option<String>, what: &str| {
        let verdict = verdict.expect("an anomaly");
        assert!(verdict.contains(what), "{verdict}");
    };
    // In order, and concurrent.
    let fine = vec![txn(1, 2, &[(1, &[])], &[(1, 5)]), txn(3, 4, &[(1, &[5])], &[(1, 6)])];
    assert_eq!(verdict(fine, &[(1, &[5, 6])]), None);
    let fine = vec![txn(1, 9, &[(1, &[5])], &[]), txn(2, 3, &[(1, &[])], &[(1, 5)])];
    assert_eq!(verdict(fine, &[(1, &[5])]), None);
    // A lost update, as it shows in the list.
    let lost = vec![txn(1, 9, &[(1, &[])], &[(1, 5)]), txn(2, 8, &[(1, &[])], &[(1, 6)])];
    says(verdict(lost, &[(1, &[6])]), "every committed append");
    // Two that both read nothing.
    let lost = vec![txn(1, 9, &[(1, &[])], &[(1, 5)]), txn(2, 8, &[(1, &[])], &[(1, 6)])];
    says(verdict(lost, &[(1, &[5, 6])]), "a cycle of 2");
    // Write skew.
    let skew = vec![
        txn(1, 9, &[(1, &[]), (2, &[])], &[(1, 5)]),
        txn(2, 8, &[(1, &[]), (2, &[])], &[(2, 6)]),
    ];
    says(verdict(skew, &[(1, &[5]), (2, &[6])]), "a cycle of 2");
    // A long fork: two readers see two writers in different orders.
    let fork = vec![
        txn(1, 9, &[], &[(1, 5)]),
        txn(1, 9, &[], &[(2, 6)]),
        txn(1, 9, &[(1, &[5]), (2, &[])], &[]),
        txn(1, 9, &[(1, &[]), (2, &[6])], &[]),
    ];
    says(verdict(fork, &[(1, &[5]), (2, &[6])]), "a cycle of 4");
    // A stale read: serializable, but not in real time.
    let stale = vec![txn(1, 2, &[], &[(1, 5)]), txn(3, 4, &[(1, &[])], &[])];
    says(verdict(stale, &[(1, &[5])]), "a cycle of 2");
    // An aborted read, a fork, a value out of nowhere.
    let mut aborted = vec![txn(1, 9, &[], &[(1, 5)]), txn(1, 9, &[(1, &[5])], &[])];
    aborted[0].outcome = Outcome::Lost;
    says(verdict(aborted, &[(1, &[5])]), "was aborted");
    let fork = vec![txn(1, 9, &[], &[(1, 5), (1, 6)]), txn(1, 9, &[(1, &[6])], &[])];
    says(verdict(fork, &[(1, &[5, 6])]), "forked");
}
