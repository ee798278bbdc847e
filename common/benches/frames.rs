//! What a frame costs before it reaches the kernel: unmasking its payload and reading its header.
//!
//! `cargo bench -p common --bench frames`

use common::frame::{Header, MAX_HEADER_LEN, Opcode};
use common::mask;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The definition of section 5.3, byte by byte: what [`mask::apply`] has to beat.
fn unmask_by_byte(payload: &mut [u8], key: [u8; 4]) {
    for i in 0..payload.len() {
        payload[i] ^= key[i % 4];
    }
}

fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask");
    for len in [8, 32, 125, 1024, 65_536] {
        group.throughput(Throughput::Bytes(len as u64));
        let mut payload = vec![0x55; len];
        group.bench_function(BenchmarkId::new("steps", len), |bencher| {
            bencher.iter(|| mask::apply(black_box(&mut payload), black_box(KEY), 0));
        });
        group.bench_function(BenchmarkId::new("bytes", len), |bencher| {
            bencher.iter(|| unmask_by_byte(black_box(&mut payload), black_box(KEY)));
        });
    }
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    for len in [32, 1024, 1 << 20] {
        let header = Header { fin: true, opcode: Opcode::Binary, mask: Some(KEY), len };
        let mut bytes = [0; MAX_HEADER_LEN];
        header.write(&mut bytes);
        group.bench_function(BenchmarkId::new("parse", len), |bencher| {
            bencher.iter(|| Header::parse(black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new("write", len), |bencher| {
            bencher.iter(|| black_box(header).write(black_box(&mut bytes)));
        });
    }
}

criterion_group!(benches, masking, headers);
criterion_main!(benches);
