use super::*;

#[test]
fn every_policy_reads_what_it_writes() {
    for text in ["always", "never", "bytes=4096", "interval=250"] {
        let policy = text.parse::<Policy>().expect("a policy");
        assert_eq!(policy.to_string(), text);
    }
}

#[test]
fn anything_else_is_refused_and_named() {
    for text in ["", "Always", "bytes", "bytes=", "bytes=0", "interval=1s", "often=1"] {
        let refusal = text.parse::<Policy>().expect_err("no policy");
        assert!(refusal.contains('"'), "{refusal}");
    }
}
