//! Prints scenes with the verdict and codes of the judge as JSON lines, for `tests/reference`: every vector
//! under both policies, and then generated scenes.
//!
//! ```sh
//! cargo run --release -p testkit --example scenes -- 20000 | target/reference -compare
//! ```
//!
//! A second argument is the first seed (0). A third one is a set of bits: changes of the scene that are
//! left out, to find those on which a difference rests. With it, there are no vectors.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::io::{BufWriter, Write};
use std::sync::mpsc::sync_channel;
use std::thread::{available_parallelism, scope};

use serde_json::json;
use testkit::policies::BasePolicy;
use testkit::scene::scene;
use testkit::scene_generator::Generator;
use testkit::vector::{Outcome, Vector, request_pem};

/// The number of scenes that a thread makes at a time.
const BATCH: u64 = 256;

fn main() -> std::io::Result<()> {
    let numbers = std::env::args().skip(1);
    let numbers: Vec<u64> = numbers
        .map(|text| text.parse().expect("a number"))
        .collect();
    let count = numbers.first().copied().unwrap_or(0);
    let first = numbers.get(1).copied().unwrap_or(0);
    let without = numbers.get(2).copied();
    let mut out = BufWriter::new(std::io::stdout().lock());
    if without.is_none() {
        for (index, vector) in Vector::all().iter().enumerate() {
            for base in BasePolicy::ALL {
                let id = format!("vector {index} {}", base.as_str());
                let text = request_pem(&vector.request);
                let outcome = vector.outcome(base);
                let line = line(&id, &vector.title, vector, base, text.as_bytes(), &outcome);
                writeln!(out, "{line}")?;
            }
        }
    }
    let generator = Generator::new();
    let generated = |seed| {
        let made = generator.scene(seed, without.unwrap_or(0));
        let title = format!("{}: {}", made.vector.title, made.changes.join(", "));
        let outcome = made.outcome();
        line(
            &seed.to_string(),
            &title,
            &made.vector,
            made.base,
            &made.text,
            &outcome,
        )
    };
    let threads = available_parallelism().map_or(1, usize::from) as u64;
    scope(|scope| {
        // Each thread makes every so many batches, and they are written in turns.
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel::<Vec<u8>>(4);
                let generated = &generated;
                scope.spawn(move || {
                    for batch in (thread..count.div_ceil(BATCH)).step_by(threads as usize) {
                        let seeds = batch * BATCH..count.min((batch + 1) * BATCH);
                        let lines: Vec<String> =
                            seeds.map(|seed| generated(first + seed)).collect();
                        let whole = lines
                            .iter()
                            .flat_map(|line| [line.as_bytes(), b"\n"].concat());
                        if sender.send(whole.collect()).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        for batch in 0..count.div_ceil(BATCH) as usize {
            let lines = threads[batch % threads.len()].recv();
            out.write_all(&lines.expect("a thread has ended"))?;
        }
        out.flush()
    })
}

fn line(
    id: &str,
    title: &str,
    vector: &Vector,
    base: BasePolicy,
    text: &[u8],
    outcome: &Outcome,
) -> String {
    let codes: Vec<&str> = outcome.codes.iter().map(|code| code.as_str()).collect();
    let line = json!({
        "id": id,
        "row": vector.row,
        "title": title,
        "scene": scene(vector, base, text),
        "verdict": outcome.verdict.to_string(),
        "codes": codes,
    });
    line.to_string()
}
