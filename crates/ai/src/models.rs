//! What `tools/models` installed: the manifest of names, licences and checksums, read and verified. Nothing is ever fetched here.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

#[derive(Debug, Deserialize)]
pub struct Model {
    pub name: String,
    pub licence: String,
    /// Package and version it came from.
    pub from: String,
    pub files: Vec<ModelFile>,
}

#[derive(Debug, Deserialize)]
pub struct ModelFile {
    /// From the models folder.
    pub path: String,
    pub sha256: String,
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Manifest {
    models: Vec<Model>,
}

/// A models folder with its manifest.
#[derive(Debug)]
pub struct Installed {
    folder: PathBuf,
    models: Vec<Model>,
}

impl Model {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }
}

impl Installed {
    pub fn read(folder: &Path) -> Result<Installed> {
        let missing = || Error::unavailable(format!("no models in {}; ./run setup installs them", folder.display()));
        let text = std::fs::read(folder.join("manifest.json")).map_err(|e| missing().because(e))?;
        let manifest: Manifest = serde_json::from_slice(&text).internal("read the manifest of models")?;
        Ok(Installed { folder: folder.to_owned(), models: manifest.models })
    }

    pub fn list(&self) -> &[Model] {
        &self.models
    }

    /// Compares every file with what was installed.
    pub fn verify(&self) -> Result<()> {
        for file in self.models.iter().flat_map(|m| &m.files) {
            let path = self.folder.join(&file.path);
            let sum = sha256(&path)
                .map_err(|e| Error::unavailable(format!("model file {} is missing", path.display())).because(e))?;
            if sum != file.sha256 {
                return Err(Error::unavailable(format!("model file {} is not what was installed", path.display())));
            }
        }
        Ok(())
    }
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let (mut file, mut sum, mut piece) = (std::fs::File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(sum.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        sum.update(&piece[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_and_a_missing_folder_are_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Installed::read(folder.path()).unwrap_err().message.contains("./run setup"));
        std::fs::write(folder.path().join("a"), b"abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let manifest = format!(
            r#"{{"models":[{{"name":"m","licence":"MIT","from":"p 1","files":[{{"path":"a","sha256":"{sum}","bytes":3}}]}}]}}"#
        );
        std::fs::write(folder.path().join("manifest.json"), manifest).unwrap();
        let installed = Installed::read(folder.path()).unwrap();
        assert_eq!((installed.list()[0].name.as_str(), installed.list()[0].bytes()), ("m", 3));
        installed.verify().unwrap();
        std::fs::write(folder.path().join("a"), b"abd").unwrap();
        assert!(installed.verify().unwrap_err().message.contains("is not what was installed"));
    }
}
