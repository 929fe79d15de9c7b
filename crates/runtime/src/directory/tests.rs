use std::fs;
use std::time::{Duration, SystemTime};

use super::*;

/// Makes these files, with their folders, in a folder of their own.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    dir
}

/// Names and versions, in the order they were read.
fn read(dir: &tempfile::TempDir, single: Option<&str>) -> Vec<(String, Vec<u64>)> {
    let directory = Directory::new(dir.path(), single.map(str::to_owned));
    let models = directory.read().unwrap();
    models
        .into_iter()
        .map(|model| (model.name, model.versions.into_keys().collect()))
        .collect()
}

#[test]
fn versions_are_read_and_sorted_by_number() {
    let dir = folder(&[
        "iris/2/model.onnx",
        "iris/10/model.onnx",
        "iris/1/model.onnx",
    ]);
    assert_eq!(read(&dir, None), [("iris".to_owned(), vec![1, 2, 10])]);
}

#[test]
fn a_model_file_without_a_version_counts_as_version_1() {
    let dir = folder(&["iris/model.onnx", "iris/notes.txt"]);
    assert_eq!(read(&dir, None), [("iris".to_owned(), vec![1])]);
}

#[test]
fn other_files_dot_folders_and_folders_that_are_no_versions_are_passed_over() {
    let dir = folder(&[
        "README.md",
        "model.onnx",
        ".git/1/model.onnx",
        "..data/1/model.onnx",
        "notes/todo.txt",
        "iris/1/model.onnx",
        "iris/01/model.onnx",
        "iris/0/model.onnx",
        "iris/-2/model.onnx",
        "iris/+3/model.onnx",
        "iris/v4/model.onnx",
        "iris/5.0/model.onnx",
        "iris/99999999999999999999/model.onnx",
        "iris/6",
        "iris/sample-request.json",
    ]);
    assert_eq!(read(&dir, None), [("iris".to_owned(), vec![1])]);
}

#[test]
fn a_version_folder_without_a_model_is_still_a_version() {
    let dir = folder(&["iris/1/model.onnx", "iris/2/weights.bin"]);
    assert_eq!(read(&dir, None), [("iris".to_owned(), vec![1, 2])]);
}

#[test]
fn an_empty_folder_holds_no_models_and_a_missing_one_is_an_error() {
    let dir = folder(&[]);
    assert_eq!(read(&dir, None), []);
    let missing = Directory::new(dir.path().join("none"), None);
    assert_eq!(missing.read().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_single_model_may_be_the_folder_itself() {
    for (files, versions) in [
        (&["model.onnx"][..], vec![1]),
        (&["classifier.onnx", "labels.txt"], vec![1]),
        (&["3/model.onnx", "4/model.onnx"], vec![3, 4]),
        (&["mine/7/model.onnx", "other/1/model.onnx"], vec![7]),
    ] {
        let dir = folder(files);
        assert_eq!(read(&dir, Some("mine")), [("mine".to_owned(), versions)]);
    }
}

#[test]
fn a_single_model_that_is_not_there_says_what_was_expected() {
    for (files, says) in [
        (&[][..], "another single .onnx file"),
        (&["a.onnx", "b.onnx"], "2 .onnx files (a.onnx, b.onnx)"),
    ] {
        let dir = folder(files);
        let directory = Directory::new(dir.path(), Some("mine".to_owned()));
        let model = directory.find("mine").unwrap().unwrap();
        assert!(model.versions.is_empty());
        let fault = model.fault.unwrap();
        assert!(fault.contains(says), "{fault}");
    }
}

#[test]
fn a_name_that_is_a_path_is_not_found() {
    let dir = folder(&["models/iris/1/model.onnx", "secret/1/model.onnx"]);
    let directory = Directory::new(dir.path().join("models"), None);
    for name in [
        "../secret",
        "iris/../../secret",
        "iris/",
        ".",
        "..",
        "",
        "iris/1",
        "/",
        "IRIS",
    ] {
        assert_eq!(directory.find(name).unwrap(), None, "{name}");
    }
    let absolute = dir.path().join("secret");
    assert_eq!(directory.find(absolute.to_str().unwrap()).unwrap(), None);
    assert!(directory.find("iris").unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn symlinks_are_followed_and_a_swap_of_their_target_changes_the_fingerprint() {
    use std::os::unix::fs::symlink;

    let dir = folder(&["..v1/iris/1/model.onnx", "..v2/iris/1/model.onnx"]);
    let at = |name: &str| dir.path().join(name);
    symlink("..v1", at("..data")).unwrap();
    symlink("..data/iris", at("iris")).unwrap();
    let directory = Directory::new(dir.path(), None);
    let before = directory.find("iris").unwrap().unwrap();
    assert_eq!(before, directory.find("iris").unwrap().unwrap());

    symlink("..v2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    let after = directory.find("iris").unwrap().unwrap();
    assert_eq!(before.versions[&1].file, after.versions[&1].file);
    assert_ne!(
        before.versions[&1].fingerprint,
        after.versions[&1].fingerprint
    );
}

/// The fingerprint of a model's only version.
fn fingerprint(dir: &tempfile::TempDir) -> Fingerprint {
    let model = Directory::new(dir.path(), None).find("m").unwrap().unwrap();
    model.versions[&1].fingerprint.clone()
}

#[test]
fn a_change_in_the_folders_of_a_version_is_a_change_of_it() {
    for model in ["m/1/model.onnx", "m/model.onnx"] {
        let folder_of_version = Path::new(model).parent().unwrap().to_owned();
        let dir = folder(&[model]);
        let mut before = fingerprint(&dir);
        for (below, changes) in [
            ("weights/w.bin", true),
            ("a/b/c/d/w.bin", true),
            ("a/b/c/d/e/w.bin", false),
            ("__pycache__/m.pyc", false),
            ("helpers/__pycache__/m.pyc", false),
            (".cache/w.bin", false),
        ] {
            let file = dir.path().join(&folder_of_version).join(below);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            for content in ["one", "another"] {
                fs::write(&file, content).unwrap();
                let after = fingerprint(&dir);
                assert_eq!(after != before, changes, "{model}, {below}: {content}");
                before = after;
            }
        }
    }
}

#[test]
fn another_version_is_no_part_of_the_one_beside_it() {
    let dir = folder(&["m/model.onnx"]);
    let before = fingerprint(&dir);
    fs::create_dir_all(dir.path().join("m/2")).unwrap();
    fs::write(dir.path().join("m/2/model.onnx"), "two").unwrap();
    assert_eq!(fingerprint(&dir), before);
}

#[cfg(unix)]
#[test]
fn the_folders_of_a_version_are_looked_at_so_far_and_no_further() {
    let dir = folder(&["m/1/model.onnx", "m/1/data/0000"]);
    let at = |name: &str| dir.path().join("m/1").join(name);
    std::os::unix::fs::symlink("..", at("data/loop")).unwrap();
    fingerprint(&dir);
    fs::remove_file(at("data/loop")).unwrap();
    for number in 1..1000 {
        fs::write(at(&format!("data/{number:04}")), "").unwrap();
    }
    let before = fingerprint(&dir);
    fs::write(at("data/1000"), "one too many").unwrap();
    assert_eq!(fingerprint(&dir), before);
    fs::write(at("data/0999"), "the last that counts").unwrap();
    assert_ne!(fingerprint(&dir), before);
    fs::write(at("beside.bin"), "files beside the model all count").unwrap();
    let stats = fingerprint(&dir);
    assert_ne!(stats, before);
}

#[test]
fn a_file_that_was_just_written_is_not_settled() {
    let dir = folder(&["iris/1/model.onnx"]);
    let model = Directory::new(dir.path(), None)
        .find("iris")
        .unwrap()
        .unwrap();
    let fingerprint = &model.versions[&1].fingerprint;
    let now = SystemTime::now();
    assert!(!fingerprint.is_settled(now));
    assert!(fingerprint.is_settled(now + Duration::from_secs(3)));
}
