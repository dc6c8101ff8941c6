use super::*;

#[test]
fn what_libfuzzer_prints_is_understood() {
    let mut summary = Summary::default();
    for line in [
        "INFO: Running with entropic power schedule (0xFF, 100).",
        "#2\tINITED cov: 120 ft: 130 corp: 1/1b exec/s: 0 rss: 40Mb",
        "#2000\tNEW    cov: 310 ft: 900 corp: 20/1Kb lim: 4096 exec/s: 1000 rss: 60Mb L: 9/9",
        "#4096\tpulse  cov: 310 ft: 900 corp: 20/1Kb lim: 4096 exec/s: 1000 rss: 60Mb",
        "artifact_prefix='fuzz/artifacts/x/'; Test unit written to fuzz/artifacts/x/crash-1",
    ] {
        summary.note(line);
    }
    assert_eq!((summary.executions, summary.coverage), (4096, Some((120, 310))));
    assert_eq!(summary.finding.as_deref(), Some("fuzz/artifacts/x/crash-1"));
    for line in [
        "stat::number_of_executed_units: 5000",
        "stat::average_exec_per_sec:     1250",
        "stat::new_units_added:          19",
        "stat::slowest_unit_time_sec:    0",
        "stat::peak_rss_mb:              61",
    ] {
        summary.note(line);
    }
    let numbers = (summary.executions, summary.per_second, summary.new_inputs, summary.peak_mib);
    assert_eq!(numbers, (5000, 1250, 19, 61));
    assert_eq!(
        row("x", &summary).matches('|').count(),
        HEAD.lines().next().unwrap().matches('|').count()
    );
}

#[test]
fn a_target_that_does_not_exist_is_refused_with_the_names_of_those_that_do() {
    let error = chosen(&["nothing".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("wal_decode") && error.contains("db_model"), "{error}");
    assert_eq!(chosen(&[]).unwrap().len(), TARGETS.len());
}

/// The table in the library, the binaries and the sources are three lists of the same names.
#[test]
fn every_target_has_a_binary_and_every_binary_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest: toml::Table =
        std::fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    let binaries = manifest["bin"].as_array().unwrap();
    let names: Vec<&str> = binaries.iter().map(|binary| binary["name"].as_str().unwrap()).collect();
    assert_eq!(names, TARGETS.map(|target| target.name));
    for name in names {
        let source = root.join(format!("fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(&source).unwrap();
        assert!(text.contains(&format!("fuzz(\"{name}\", data)")), "{}", source.display());
    }
}
