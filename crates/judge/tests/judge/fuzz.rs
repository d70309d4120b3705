//! Runs the fuzz targets for every seed and for a mutant of each, so that their properties are tested
//! without a fuzzer. `WRITE_CORPUS=1` writes the seeds to `fuzz/corpus` instead.

use std::collections::BTreeMap;
use std::path::Path;

use judge::Decision;
use testkit::fuzz_targets::{ALL, Target};
use testkit::random::Random;

/// Maximum size of a seed, in bytes. libFuzzer creates inputs as long as the longest seed, and long
/// ones are slow.
const MAX_SEED_BYTES: usize = 4096;

#[test]
fn properties_hold_for_seeds_and_their_mutants() {
    for target in ALL {
        let seeds = (target.seeds)();
        assert!(seeds.len() > 20, "{}: {} seeds", target.name, seeds.len());
        if std::env::var_os("WRITE_CORPUS").is_some() {
            write(target, &seeds);
            continue;
        }
        for (seed, random) in seeds.iter().zip(0..) {
            (target.check)(seed);
            let mutant = (target.mutate)(seed, &mut Random::new(random));
            mutant.iter().for_each(|mutant| (target.check)(mutant));
        }
    }
}

/// A decision that no scene reaches would be untested.
#[test]
fn scenes_reach_every_decision() {
    let seeds = testkit::fuzz_targets::judge::seeds();
    let reached = seeds
        .iter()
        .step_by(3)
        .map(|seed| testkit::fuzz_targets::judge::judged(seed));
    let mut counts = BTreeMap::new();
    for decision in reached {
        *counts.entry(decision).or_insert(0) += 1;
    }
    let is_enough = |decision| counts.get(decision).is_some_and(|count| *count > 10);
    assert!(Decision::ALL.iter().all(is_enough), "{counts:?}");
}

/// A target that is not in the list would have no seeds and no test.
#[test]
fn every_target_is_in_the_list() {
    let mut files: Vec<String> = std::fs::read_dir(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/fuzz_targets"
    ))
    .unwrap()
    .map(|entry| entry.unwrap().path())
    .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
    .collect();
    files.sort_unstable();
    let mut names: Vec<&str> = ALL.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}

fn write(target: &Target, seeds: &[Vec<u8>]) {
    let folder =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus")).join(target.name);
    std::fs::create_dir_all(&folder).unwrap();
    let short = |seed: &&Vec<u8>| seed.len() <= MAX_SEED_BYTES;
    for (index, seed) in seeds.iter().filter(short).enumerate() {
        std::fs::write(folder.join(format!("seed-{index:03}")), seed).unwrap();
    }
}
