//! How the SDKs find the recorder.
#![expect(clippy::disallowed_methods, reason = "a test runs Python and the program")]

use std::path::Path;
use std::process::Command;

use crate::driver::BINARY;

fn python(env: &[(&str, &str)]) -> Result<String, String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let output = Command::new("python3")
        .args(["-c", "import videodb_capture_bin; print(videodb_capture_bin.get_binary_path())"])
        .env("PYTHONPATH", package)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("VITASCOPE_CAPTURE_BIN")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn the_python_package_finds_the_program() {
    assert_eq!(python(&[("VITASCOPE_CAPTURE_BIN", BINARY)]).unwrap(), BINARY);
    let target = Path::new(BINARY).parent().and_then(Path::parent).unwrap().to_str().unwrap();
    assert_eq!(python(&[("CARGO_TARGET_DIR", target)]).unwrap(), BINARY);
    let missing = python(&[("VITASCOPE_CAPTURE_BIN", "/nonexistent")]).unwrap_err();
    assert!(missing.contains("FileNotFoundError") && missing.contains("/nonexistent"), "{missing}");
}

/// Trap 17: npm 0.2.0 looks for `recorder`, later ones for `capture`.
#[test]
fn the_node_package_gets_both_names_and_they_run() {
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(project.path().join("node_modules/videodb")).unwrap();
    let status = Command::new(BINARY).args(["install", "--node"]).arg(project.path()).status().unwrap();
    assert!(status.success());
    for name in ["recorder", "capture"] {
        let output =
            Command::new(project.path().join("node_modules/videodb/bin").join(name)).arg("--version").output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            concat!("vitascope-capture ", env!("CARGO_PKG_VERSION"), "\n")
        );
    }
}
