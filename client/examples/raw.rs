fn main() {
    let n = std::env::args().nth(1).unwrap().parse().unwrap();
    let f = client::raw::floor(n, &std::sync::atomic::AtomicBool::new(false), |_| {}).unwrap();
    println!("{f:?} {:.0}/s {:.0} echoes/s", f.pairs as f64 / f.setup.as_secs_f64(), f.pairs as f64 / f.echoes.as_secs_f64());
}
