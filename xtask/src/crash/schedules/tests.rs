use std::os::unix::fs::PermissionsExt;

use super::*;

/// A stand-in for the built program: a script that answers.
fn program(dir: &Path, script: &str) -> Program {
    let path = dir.join("schedules");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let model = |name: &str| Model { name: name.to_owned(), promise: "all is well".to_owned() };
    Program { path, models: vec![model("one"), model("two")] }
}

#[test]
fn a_failing_chunk_is_a_finding_that_names_its_replay() {
    let dir = tempfile::tempdir().unwrap();
    let script =
        r#"[ "$2 $3" = "two 1" ] && echo "failed 7 half of a batch" && exit 2; echo "ok $4 0.5""#;
    let part = Schedules::new(program(dir.path(), script), 2 * CHUNK);
    assert_eq!(part.units(), 4);
    let mut all = Outcome::default();
    (0..4).for_each(|unit| all.add(part.run(unit)));
    let [finding] = &all.findings[..] else { panic!("{all:?}") };
    assert!(finding.what.starts_with("two: half of a batch"), "{finding:?}");
    assert!(finding.replay.ends_with("--schedule two:1"), "{finding:?}");
    assert_eq!(all.counts["schedules of one"], 2 * CHUNK);
    assert_eq!(all.counts["schedules of two"], CHUNK + 7);
    assert!(part.rates().contains("1000/s"), "{}", part.rates());
}

#[test]
fn a_program_that_dies_or_says_nothing_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    for script in ["kill -9 $$", "exit 0", "echo nonsense"] {
        let part = Schedules::new(program(dir.path(), script), 1);
        assert_eq!(part.run(0).findings.len(), 1, "{script}");
        assert!(!Mistakes::new(program(dir.path(), script)).run(0).findings.is_empty(), "{script}");
    }
}

#[test]
fn a_model_that_misses_a_mistake_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let missed = "echo 'found 3 0 one mistake: seen'; echo 'missed another'; exit 2";
    let outcome = Mistakes::new(program(dir.path(), missed)).run(0);
    assert_eq!(outcome.findings.len(), 1, "{outcome:?}");
    assert_eq!((outcome.counts["mistakes found"], outcome.counts["schedules until found"]), (1, 3));
    let outcome = Mistakes::new(program(dir.path(), "echo 'found 3 0 one mistake: seen'")).run(1);
    assert!(outcome.findings.is_empty(), "{outcome:?}");
}
