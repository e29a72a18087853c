//! A proof holds, for this crate and for one that was not written here, and a false one does not.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Lab, body};
use hoop_log::{Error, Proof, ProofError, SigningKey, prove};

/// A log of sealed segments and one that is written to.
fn written() -> Lab {
    let lab = Lab::new();
    let mut writer = lab.open();
    for number in 1..=700 {
        writer.append(&body(number)).unwrap();
        if number % 3 == 0 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
    assert!(lab.wait_sealed() > 2);
    lab
}

#[test]
fn every_record_is_proved_by_itself() {
    let lab = written();
    let records = lab.read_all(1);
    let key = lab.key();
    for (position, record) in records.iter().enumerate() {
        let proof = prove(lab.dir(), position as u64 + 1).unwrap();
        assert_eq!(proof.index, position as u64);
        let text = proof.to_string();
        assert_eq!(text.parse::<Proof>().unwrap(), proof);
        proof.verify(record, key.verifier()).unwrap();
        let other = &records[(position + 1) % records.len()];
        let verified = proof.verify(other, key.verifier());
        assert_eq!(verified, Err(ProofError::OtherRecord));
    }
    let stranger = SigningKey::generate("log.test/node").unwrap();
    let proof = prove(lab.dir(), 5).unwrap();
    assert!(proof.verify(&records[4], stranger.verifier()).is_err());
    for number in [0, 701, u64::MAX] {
        let none = prove(lab.dir(), number);
        assert!(
            matches!(none, Err(Error::NoRecord { .. })),
            "{number}: {none:?}"
        );
    }
}

#[test]
fn no_line_of_a_proof_can_be_left_out_or_changed() {
    let lab = written();
    let record = lab.read_all(77).swap_remove(0);
    let text = prove(lab.dir(), 77).unwrap().to_string();
    let key = lab.key();
    let holds = |text: &str| {
        let proof: Result<Proof, _> = text.parse();
        proof.is_ok_and(|proof| proof.verify(&record, key.verifier()).is_ok())
    };
    assert!(holds(&text));
    for position in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[position] ^= 1;
        assert!(!str::from_utf8(&bytes).is_ok_and(holds), "byte {position}");
    }
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    for left_out in 0..lines.len() {
        let mut lines = lines.clone();
        lines.remove(left_out);
        assert!(!holds(&lines.concat()), "line {left_out}");
    }
}

#[test]
fn go_verifies_the_proof() {
    let lab = written();
    let go = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/check.go");
    let program = lab.dir().join("check");
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &go])
        .envs([
            ("GO111MODULE", "off"),
            ("GOPATH", "/usr/share/gocode"),
            ("GOFLAGS", "-buildvcs=false"),
        ])
        .env("GOCACHE", lab.dir().join("cache"))
        .output()
        .expect("go is not there: install golang-go and golang-golang-x-mod-dev");
    assert!(
        built.status.success(),
        "golang-golang-x-mod-dev is not there, or check.go does not build: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    let (proof, record) = (lab.dir().join("proof"), lab.dir().join("record"));
    let check = |key: &str| {
        let checked = Command::new(&program)
            .arg(key)
            .args([&proof, &record])
            .output()
            .unwrap();
        (
            checked.status.success(),
            String::from_utf8(checked.stderr).unwrap(),
        )
    };
    let key = lab.key().verifier().to_string();
    let records = lab.read_all(1);
    for number in [1, 2, 3, 64, 65, 300, 511, 512, 513, 699, 700] {
        fs::write(&proof, prove(lab.dir(), number).unwrap().to_string()).unwrap();
        fs::write(&record, &records[number as usize - 1]).unwrap();
        assert_eq!(check(&key), (true, String::new()), "record {number}");
        fs::write(&record, &records[number as usize % 700]).unwrap();
        assert!(!check(&key).0, "record {number} by another");
    }
    let stranger = SigningKey::generate("log.test/node").unwrap();
    fs::write(&record, &records[699]).unwrap();
    assert!(check(&key).0);
    assert!(!check(&stranger.verifier().to_string()).0);
}
