//! The tables of decision 0003: workloads and thresholds run through the simulated store.

use super::draws::to_f64;
use super::store::{Case, Flows, Keys, Policy, Sizes, Store, Victim};

const fn case(name: &'static str, keys: Keys, sizes: Sizes) -> Case {
    Case { name, keys, sizes, separate_all: false, ttl: None }
}

const CASES: [Case; 7] = [
    case("uniform 1 KiB", Keys::Uniform, Sizes::Fixed(1024)),
    case("zipfian 1 KiB", Keys::Zipfian, Sizes::Fixed(1024)),
    Case { ttl: Some(1.0), ..case("ttl, equal", Keys::Fresh, Sizes::Fixed(1024)) },
    Case { ttl: Some(0.2), ..case("ttl, short and long", Keys::Fresh, Sizes::Fixed(1024)) },
    case("mixed 50/50, uniform", Keys::Uniform, Sizes::Mixed(0.5)),
    case("mixed 99/1, uniform", Keys::Uniform, Sizes::Mixed(0.99)),
    Case {
        separate_all: true,
        ..case("mixed 99/1, zipfian, hash", Keys::Zipfian, Sizes::Mixed(0.99))
    },
];

const CHOSEN: Policy = Policy {
    promote_min: 0.50,
    advised: 0.40,
    forced: 0.80,
    total: 0.25,
    victim: Victim::CostBenefit,
    by_heat: false,
    by_age: false,
    lag: 0.1,
    generations: 64,
};

struct Outcome {
    space_mean: f64,
    space_max: f64,
    space_settled: f64,
    gc_per_freed: f64,
    copied: f64,
    gc: f64,
    gc_young: f64,
    promoted: f64,
}

/// Fills a store, overwrites it for a while, then measures while overwriting goes on.
fn simulate(case: Case, policy: Policy, keys: u32, seed: u64) -> Outcome {
    const WARM_ROUNDS: u32 = 8;
    const ROUNDS: u32 = 20;
    let mut store = Store::new(case, policy, keys, seed, ROUNDS);
    if case.keys != Keys::Fresh {
        (0..keys).for_each(|key| store.put(key));
    }
    let rounds = |count: u32| u64::from(count) * u64::from(keys);
    let (mut sum, mut max, mut samples) = (0.0, 0.0f64, 0u32);
    while store.puts < rounds(ROUNDS) {
        if store.puts == rounds(WARM_ROUNDS) {
            store.flows = Flows::default();
            (sum, max, samples) = (0.0, 0.0, 0);
        }
        let segments = store.flows.segments;
        let key = store.draw();
        store.put(key);
        if store.flows.segments != segments {
            store.collect(policy.advised);
            let space = store.space();
            sum += space;
            max = max.max(space);
            samples += 1;
        }
    }
    let flows = store.flows;
    store.flush();
    store.merge_indexes(u64::MAX);
    store.collect(0.0);
    let log = to_f64(flows.log_bytes);
    Outcome {
        space_mean: sum / f64::from(samples),
        space_max: max,
        space_settled: store.space(),
        gc_per_freed: to_f64(flows.gc_written_bytes) / to_f64(flows.gc_freed_bytes.max(1)),
        copied: to_f64(flows.copied_bytes) / log,
        gc: to_f64(flows.gc_written_bytes) / log,
        gc_young: to_f64(flows.gc_young_bytes) / log,
        promoted: to_f64(flows.promoted) / to_f64(flows.segments),
    }
}

fn print_head(title: &str, column: &str) {
    println!("\n### {title}\n");
    println!(
        "| {column} | files/live mean | max | settled | GC writes per byte reclaimed | copied at flush / log | GC / log | of it young | segments promoted |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
}

fn print_row(name: &str, outcome: &Outcome) {
    println!(
        "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} % |",
        outcome.space_mean,
        outcome.space_max,
        outcome.space_settled,
        outcome.gc_per_freed,
        outcome.copied,
        outcome.gc,
        outcome.gc_young,
        outcome.promoted * 100.0,
    );
}

pub(super) fn print_tables(keys: u32, seed: u64) {
    println!("SEED={seed}, {keys} keys");
    print_head("The chosen thresholds", "workload");
    for case in CASES {
        print_row(case.name, &simulate(case, CHOSEN, keys, seed));
    }
    let [uniform, zipfian, ..] = CASES;
    let [inline, mixed] = [CASES[5], CASES[6]];
    let sweep = |title: &str, cases: &[Case], policies: &[(String, Policy)]| {
        print_head(title, "workload, setting");
        for case in cases {
            for (setting, policy) in policies {
                let outcome = simulate(*case, *policy, keys, seed);
                print_row(&format!("{}, {setting}", case.name), &outcome);
            }
        }
    };
    let set = |values: &[f64], with: &dyn Fn(f64) -> Policy| -> Vec<(String, Policy)> {
        values.iter().map(|&value| (format!("{value:.2}"), with(value))).collect()
    };
    let totals = set(&[0.20, 0.25, 0.30, 0.35], &|total| Policy { total, ..CHOSEN });
    sweep("Total-garbage bound", &[uniform, zipfian, mixed], &totals);
    let promote =
        set(&[0.3, 0.5, 0.6, 0.7, 0.8, 0.9], &|promote_min| Policy { promote_min, ..CHOSEN });
    sweep("`promote_min`", &[zipfian, inline, mixed], &promote);
    let promote = set(&[0.3, 0.5, 0.7], &|promote_min| Policy { promote_min, lag: 0.0, ..CHOSEN });
    sweep("`promote_min`, merges not late", &[zipfian, inline, mixed], &promote);
    let advised = set(&[0.0, 0.3, 0.4, 0.45, 0.5, 0.6], &|advised| Policy { advised, ..CHOSEN });
    sweep("Advised ratio", &[uniform, zipfian], &advised);
    let forced = set(&[0.5, 0.6, 0.7, 0.8, 0.9], &|forced| Policy { forced, ..CHOSEN });
    sweep("Forced ratio", &[uniform, zipfian], &forced);
    let lags = set(&[0.0, 0.05, 0.1, 0.2, 0.3], &|lag| Policy { lag, ..CHOSEN });
    sweep("How late merges find garbage (share of the keys)", &[uniform, zipfian], &lags);
    let sizes = [4, 16, 64].map(|generations| {
        (format!("{generations} generations"), Policy { generations, ..CHOSEN })
    });
    sweep("Store size", &[uniform, zipfian], &sizes);
    let ways = [
        ("greedy", Victim::Greedy, false, false),
        ("greedy, by heat", Victim::Greedy, true, false),
        ("greedy, by age", Victim::Greedy, false, true),
        ("cost-benefit", Victim::CostBenefit, false, false),
        ("cost-benefit, by heat", Victim::CostBenefit, true, false),
        ("cost-benefit, by age", Victim::CostBenefit, false, true),
        ("cost-benefit, by heat, by age", Victim::CostBenefit, true, true),
    ];
    for lag in [0.0, 0.1] {
        let ways = ways.map(|(name, victim, by_heat, by_age)| {
            (name.to_owned(), Policy { victim, by_heat, by_age, lag, ..CHOSEN })
        });
        let title = format!("Choice of the victim, copies by heat, merges {lag} late");
        sweep(&title, &[uniform, zipfian, mixed], &ways);
    }
}
