//! What explorations found once, as short as it could be made. Each line is a history of calls and
//! crashes that had a wrong end.

use xtask::crash::replay;

fn require(line: &str) {
    assert!(replay::line(line).expect("a line"), "{line}");
}

#[test]
fn an_open_that_met_a_sync_without_space_builds_on_nothing() {
    // Believed: NoSpace changes nothing, so an open gives back its reserve and tries again.
    // True: the sync of a new segment said it, the segment's bytes were lost, and the chain went on.
    require(
        "lives 2670 | positional/positional/always/lazy/btree 11970590 0 \
         batch.0.200,hugeput.5.200,batch.2.0,compact.11.1 327:25 \
         | mapped/mapped/durable/seeded/btree 10073573 14392 put.11.7000,transact.0.2560,put.2.40,\
         ttlput.10.1,flush.4.2560,bigput.1.4090,compact.3.2560,batch.8.256,flush.9.1500,\
         batch.0.1500,put.4.600,put.5.7000,transact.5.4090,put.3.256,delete.3.7000,delete.10.1,\
         delete.10.256,batch.4.600,ttlput.9.40 771:33 \
         | mapped/mapped/never/seeded/btree 8874588 5491 - 831:42",
    );
}
