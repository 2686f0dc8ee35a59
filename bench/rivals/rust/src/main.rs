// SPDX-License-Identifier: MIT

//! r2d2, measured as bench/bench.c and bench/handoff.c measure the pools of C: the same numbers of
//! threads, the same rounds, the same loop. Prints what bench/foreign.c reads.
//! rivals ROUNDS MILLISECONDS

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const TITLE: &str = "Rust, r2d2 get + drop";
const RESOURCES: u32 = 10;
const COLUMNS: [usize; 5] = [1, 2, 4, 16, 64];
const CROWDS: [(usize, u32); 2] = [(4, 2), (16, 4)];
const HOLD: Duration = Duration::from_micros(20);
const CROWD_TIME: Duration = Duration::from_millis(200);

struct Resource {
    released_at: Option<Instant>,
}

struct Maker;

impl r2d2::ManageConnection for Maker {
    type Connection = Resource;
    type Error = std::io::Error;

    fn connect(&self) -> Result<Resource, Self::Error> {
        Ok(Resource { released_at: None })
    }
    fn is_valid(&self, _: &mut Resource) -> Result<(), Self::Error> {
        Ok(())
    }
    fn has_broken(&self, _: &mut Resource) -> bool {
        false
    }
}

type Pool = r2d2::Pool<Maker>;

/// All of them made and idle, and not validated, since ours are not either.
fn open(count: u32) -> Pool {
    Pool::builder().max_size(count).test_on_check_out(false).build(Maker).unwrap()
}

fn pairs(pool: &Pool, count: u64) {
    for _ in 0..count {
        drop(pool.get().unwrap());
    }
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(|a, b| a.total_cmp(b));
    values[(q * (values.len() - 1) as f64) as usize]
}

/// Runs work in so many threads at once; ns from the moment that they may to the last end.
fn together(threads: usize, work: &(dyn Fn() + Sync)) -> f64 {
    let ready = AtomicUsize::new(0);
    let go = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut running = Vec::new();
        for _ in 0..threads {
            running.push(scope.spawn(|| {
                ready.fetch_add(1, Ordering::SeqCst);
                while !go.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                work();
                Instant::now()
            }));
        }
        while ready.load(Ordering::SeqCst) < threads {
            thread::yield_now();
        }
        let started = Instant::now();
        go.store(true, Ordering::SeqCst);
        let ended = running.into_iter().map(|t| t.join().unwrap()).max().unwrap();
        (ended - started).as_nanos() as f64
    })
}

/// ns of one pair over all threads, and at one thread that of the quickest of a hundred pieces.
fn round(pool: &Pool, threads: usize, count: u64) -> (f64, f64) {
    let quickest = Mutex::new(f64::INFINITY);
    let elapsed = together(threads, &|| {
        if threads > 1 {
            return pairs(pool, count);
        }
        let piece = count / 100 + 1;
        let mut least = f64::INFINITY;
        for _ in 0..count / piece {
            let began = Instant::now();
            pairs(pool, piece);
            least = least.min(began.elapsed().as_nanos() as f64 / piece as f64);
        }
        *quickest.lock().unwrap() = least;
    });
    let each = elapsed / threads as f64 / count as f64;
    (each, each.min(quickest.into_inner().unwrap()))
}

fn calibrate(pool: &Pool, threads: usize, length: f64) -> u64 {
    let mut count = 256;
    loop {
        let elapsed = round(pool, threads, count).0 * count as f64 * threads as f64;
        if elapsed >= length / 8.0 {
            return (count as f64 * length / elapsed) as u64 + 1;
        }
        count *= 4;
    }
}

fn measure_pairs(rounds: usize, length: f64) {
    let pool = open(RESOURCES);
    let longer = |threads| if threads > 16 { length * 4.0 } else { length };
    let loops = COLUMNS.map(|threads| calibrate(&pool, threads, longer(threads)));
    let mut least = [f64::INFINITY; COLUMNS.len()];
    let mut samples = vec![Vec::new(); COLUMNS.len()];
    for _ in 0..rounds {
        for (c, &threads) in COLUMNS.iter().enumerate() {
            let (each, quickest) = round(&pool, threads, loops[c]);
            samples[c].push(each);
            least[c] = least[c].min(quickest);
        }
    }
    print!("pairs|{TITLE}");
    for c in 0..COLUMNS.len() {
        print!("|{:.2} {:.2}", quantile(&mut samples[c], 0.5), least[c]);
    }
    println!();
}

/// p50, p99, wait p99, longest wait, share handed over, pairs a second: see bench/handoff.c.
fn crowd(pool: &Pool, threads: usize) -> [f64; 6] {
    let handed = Mutex::new(Vec::new());
    let waited = Mutex::new(Vec::new());
    let pairs = AtomicUsize::new(0);
    let ends = Instant::now() + CROWD_TIME;
    let elapsed = together(threads, &|| {
        let (mut my_handed, mut my_waited) = (Vec::new(), Vec::new());
        loop {
            let begun = Instant::now();
            if begun >= ends {
                break;
            }
            let mut held = pool.get().unwrap();
            let got = Instant::now();
            if let Some(released) = held.released_at.filter(|&released| released > begun) {
                my_handed.push((got - released).as_nanos() as f64);
                my_waited.push((got - begun).as_nanos() as f64);
            }
            while got.elapsed() < HOLD {}
            held.released_at = Some(Instant::now());
            drop(held);
            pairs.fetch_add(1, Ordering::Relaxed);
        }
        handed.lock().unwrap().append(&mut my_handed);
        waited.lock().unwrap().append(&mut my_waited);
    });
    let (mut handed, mut waited) = (handed.into_inner().unwrap(), waited.into_inner().unwrap());
    let total = pairs.into_inner() as f64;
    [
        quantile(&mut handed, 0.5),
        quantile(&mut handed, 0.99),
        quantile(&mut waited, 0.99),
        quantile(&mut waited, 1.0),
        handed.len() as f64 / total,
        total / (elapsed / 1e9),
    ]
}

fn measure_crowds(rounds: usize) {
    for (threads, resources) in CROWDS {
        let mut figures = vec![Vec::new(); 6];
        for _ in 0..rounds {
            let each = crowd(&open(resources), threads);
            for (figure, value) in figures.iter_mut().zip(each) {
                figure.push(value);
            }
        }
        print!("handoff|{TITLE}|{threads}|{resources}|");
        for figure in &mut figures {
            print!("{:.4} ", quantile(figure, 0.5));
        }
        println!();
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<f64>().unwrap());
    let rounds = arguments.next().unwrap() as usize;
    measure_pairs(rounds, arguments.next().unwrap() * 1e6);
    measure_crowds(rounds);
}
