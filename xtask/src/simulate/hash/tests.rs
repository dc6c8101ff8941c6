use super::{CHOSEN, Index};

#[test]
fn there_are_never_more_runs_than_allowed_and_no_put_is_lost() {
    let mut index = Index::new(CHOSEN, 0.0, 1e9);
    for applies in 1..5000 {
        index.apply(1000.0);
        assert!(index.runs.len() <= CHOSEN.runs_max);
        let puts: f64 = index.runs.iter().map(|run| run.puts).sum();
        assert!((puts - f64::from(applies) * 1000.0).abs() < 0.5);
    }
}
