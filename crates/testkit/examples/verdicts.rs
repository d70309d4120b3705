//! Prints verdict and codes of every vector under every shipped policy, and of 20,000 seeded scenes, one
//! line each. Two versions with equal lines decide alike.
//!
//! ```sh
//! cargo run --release -p testkit --example verdicts >target/verdicts.txt
//! ```

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

use std::io::{BufWriter, Result, Write};

use judge::{Judgment, policy};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use testkit::now;
use testkit::policies::BasePolicy;
use testkit::random::Random;
use testkit::vector::{Vector, request_pem};

/// Number of scenes from each of the two generators.
const SCENES: usize = 10_000;

fn main() -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    vectors(&mut out)?;
    property_scenes(&mut out)?;
    fuzzed_scenes(&mut out)?;
    out.flush()
}

fn vectors(out: &mut impl Write) -> Result<()> {
    let policies: Vec<_> = policy::SHIPPED
        .iter()
        .map(|(name, text)| (*name, policy::parse(text).unwrap()))
        .collect();
    for vector in Vector::all() {
        let title = format!("vector {} {:?}", vector.row, vector.title);
        for base in BasePolicy::ALL {
            // With the vector's changes to the policy.
            write_line(out, &title, base.as_str(), &vector.judgment(base))?;
        }
        let request = vector.read(request_pem(&vector.request).as_bytes());
        let evidence = vector.evidence();
        for (name, policy) in &policies {
            let judged = judge::judge(&request, policy, &evidence, now());
            write_line(out, &title, &format!("{name} as shipped"), &judged)?;
        }
    }
    Ok(())
}

/// The random clusters of the property tests.
fn property_scenes(out: &mut impl Write) -> Result<()> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[1; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let worlds = testkit::strategies::any_vector();
    for index in 0..SCENES {
        let vector = worlds.new_tree(&mut runner).unwrap().current();
        for base in BasePolicy::ALL {
            let title = format!("property scene {index}");
            write_line(out, &title, base.as_str(), &vector.judgment(base))?;
        }
    }
    Ok(())
}

/// The fuzz target's seeds, changed by its own mutator up to four times.
fn fuzzed_scenes(out: &mut impl Write) -> Result<()> {
    let seeds = testkit::fuzz_targets::judge::seeds();
    let mut random = Random::new(1);
    for index in 0..SCENES {
        let mut scene = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            scene = testkit::fuzz_targets::judge::mutate(&scene, &mut random).unwrap_or(scene);
        }
        let title = format!("fuzzed scene {index}");
        write_line(
            out,
            &title,
            "its own",
            &testkit::fuzz_targets::judge::judgment(&scene),
        )?;
    }
    Ok(())
}

fn write_line(out: &mut impl Write, title: &str, policy: &str, judged: &Judgment) -> Result<()> {
    let codes: Vec<&str> = judged.codes().iter().map(|code| code.as_str()).collect();
    let verdict = judged.verdict.decision();
    writeln!(out, "{title}, {policy}: {verdict} [{}]", codes.join(", "))
}
