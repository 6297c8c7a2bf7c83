//! Puts this recorder where the npm package `videodb` looks for its own: `bin/recorder` in 0.2.0, `bin/capture` from 0.2.2 on.
//! A link where possible, so that an update of the recorder reaches it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

/// Returns what it wrote.
pub(crate) fn into_node(project: &Path) -> Result<[PathBuf; 2]> {
    let ourselves = std::env::current_exe().internal("find this program")?;
    place(&ourselves, project)
}

fn place(program: &Path, project: &Path) -> Result<[PathBuf; 2]> {
    let package = project.join("node_modules/videodb");
    if !package.is_dir() {
        return Err(Error::not_found(format!("{} (run `npm install videodb` there first)", package.display())));
    }
    let folder = package.join("bin");
    fs::create_dir_all(&folder).internal(format!("make {}", folder.display()))?;
    let targets = ["recorder", "capture"].map(|name| folder.join(name));
    for target in &targets {
        if fs::symlink_metadata(target).is_ok() {
            fs::remove_file(target).internal(format!("replace {}", target.display()))?;
        }
        symlink(program, target)
            .or_else(|_| fs::copy(program, target).map(|_| ()))
            .internal(format!("write {}", target.display()))?;
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_lead_to_the_program_also_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("vitascope-capture");
        fs::write(&program, "program").unwrap();
        assert!(place(&program, folder.path()).unwrap_err().message.contains("npm install videodb"));
        fs::create_dir_all(folder.path().join("node_modules/videodb")).unwrap();
        for _ in 0..2 {
            place(&program, folder.path()).unwrap();
            for name in ["recorder", "capture"] {
                assert_eq!(fs::read(folder.path().join("node_modules/videodb/bin").join(name)).unwrap(), b"program");
            }
        }
    }
}
