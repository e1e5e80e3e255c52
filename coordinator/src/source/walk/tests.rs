//! What cannot be read, and that memory does not grow with the tree.

use super::*;

fn options(piece: usize) -> WalkOptions {
    WalkOptions { links: Links::default(), exclude: Vec::new(), other_roots: Vec::new(), piece }
}

fn steps(root: &Path, options: &WalkOptions) -> Vec<Step> {
    let (sender, mut receiver) = mpsc::channel(10_000);
    walk(root, options, &sender, &CancellationToken::new());
    drop(sender);
    std::iter::from_fn(|| receiver.blocking_recv()).collect()
}

#[test]
fn a_folder_that_cannot_be_opened_is_a_problem_and_the_rest_is_walked() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), "a").unwrap();
    let options = options(1000);
    let (sender, mut receiver) = mpsc::channel(100);
    let mut walk = Walk {
        root: dir.path(),
        options: &options,
        out: &sender,
        batch: Vec::new(),
        names: 0,
        stack: vec![Level {
            path: dir.path().to_owned(),
            links: 0,
            // Was listed as a folder; meanwhile it is gone, or a file.
            pending: vec![("gone".into(), false), ("a.txt".into(), false)],
            rest: None,
        }],
    };

    walk.descend(&CancellationToken::new()).unwrap();

    drop(sender);
    let problems: Vec<_> = std::iter::from_fn(|| receiver.blocking_recv())
        .map(|step| match step {
            Step::Problem(problem) => (problem.path, problem.reason),
            Step::Folders(_) | Step::Root(_) => panic!("{step:?}"),
        })
        .collect();
    let expected = [
        (dir.path().join("a.txt"), SkipReason::Unreadable),
        (dir.path().join("gone"), SkipReason::Vanished),
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_folder_comes_before_what_is_in_it_and_ends_with_its_last_piece() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..25 {
        fs::create_dir_all(dir.path().join(format!("{n}"))).unwrap();
    }

    let folders: Vec<_> = steps(dir.path(), &options(10))
        .into_iter()
        .flat_map(|step| match step {
            Step::Folders(folders) => folders,
            Step::Problem(_) | Step::Root(_) => panic!("{step:?}"),
        })
        .collect();

    let of_root: Vec<_> =
        folders.iter().filter(|f| f.path == dir.path()).map(|f| (f.part, f.found.len())).collect();
    let piece = |first, last| Part::Piece { first, last };
    assert_eq!(
        of_root,
        [(piece(true, false), 10), (piece(false, false), 10), (piece(false, true), 5)]
    );
    assert_eq!(folders.len(), 3 + 25);
    let mut announced: Vec<PathBuf> = Vec::new();
    for folder in &folders {
        assert!(folder.path == dir.path() || announced.contains(&folder.path));
        announced.extend(folder.found.iter().map(|f| folder.path.join(&f.name)));
    }
}

#[test]
fn what_waits_on_the_stack_is_bounded_by_depth_and_not_by_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..500 {
        fs::create_dir_all(dir.path().join(format!("{n}/a/b"))).unwrap();
    }
    let options = options(10);
    let (sender, _receiver) = mpsc::channel(10_000);
    let mut walk = Walk {
        root: dir.path(),
        options: &options,
        out: &sender,
        batch: Vec::new(),
        names: 0,
        stack: Vec::new(),
    };
    walk.enter(dir.path().to_owned(), 0, fs::read_dir(dir.path()).unwrap()).unwrap();

    let mut most = 0;
    while walk.step().unwrap() {
        most = most.max(walk.stack.iter().map(|level| level.pending.len()).sum());
    }

    assert!(most <= 3 * 10, "{most}");
}
