//! The wire over real devices: a transfer takes what its rate says, and losses are made good by TCP.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use testkit::{End, Wan, Wire};

#[test]
fn a_transfer_takes_what_the_wire_allows() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bytes = 1_000_000;
    let wire =
        Wire { rate: 20_000_000, round_trip: Duration::from_millis(20), loss: 0.001, seed: 5 };
    let wan = Wan::lay(wire).unwrap();
    let listener =
        wan.inside(End::Server, || TcpListener::bind((End::Server.address(), 0)).unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&vec![7; bytes]).unwrap();
    });
    let began = Instant::now();
    let mut stream = wan
        .inside(End::Client, || TcpStream::connect((End::Server.address(), port)).unwrap())
        .unwrap();
    let mut came = Vec::new();
    stream.read_to_end(&mut came).unwrap();
    let took = began.elapsed();
    server.join().unwrap();
    assert_eq!(came.len(), bytes);
    let (down, up) = wan.carried();
    assert!(down.bytes > bytes as u64 && down.bytes < bytes as u64 * 12 / 10, "{down:?}");
    assert!(up.packets > 10, "{up:?}");
    let least = Duration::from_secs_f64(bytes as f64 * 8.0 / 20e6);
    assert!(took >= least, "{took:?}");
    // It cannot be reached from elsewhere.
    assert!(
        TcpStream::connect_timeout(
            &(End::Server.address(), port).into(),
            Duration::from_millis(100)
        )
        .is_err()
    );
}
