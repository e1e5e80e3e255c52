//! What is taken for deleted, moved, or a fault.

use super::*;

#[tokio::test]
async fn a_deleted_file_is_told_and_forgotten() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "a");
    fixture.write("b.txt", "b");
    fixture.scan().await;
    fs::remove_file(fixture.root().join("b.txt")).unwrap();

    let report = fixture.scan().await;

    assert_eq!((report.counts.deleted, report.counts.unchanged), (1, 1));
    assert_eq!(fixture.changes(), ["deleted b.txt"]);
    assert_eq!(fixture.known(), ["a.txt"]);
    assert_eq!(fixture.scan().await.counts.deleted, 0);
}

#[tokio::test]
async fn a_vanished_folder_takes_all_that_was_in_it_along() {
    for limit in [1000, 2] {
        let fixture = Fixture::with_index(MemoryIndex::with_limit(limit));
        fixture.write("keep.txt", "k");
        for n in 0..3 {
            fixture.write(&format!("gone/{n}.txt"), &format!("{n}"));
            fixture.write(&format!("gone/deep/er/{n}.txt"), &format!("deep {n}"));
        }
        fs::create_dir_all(fixture.root().join("gone/empty")).unwrap();
        fixture.scan().await;
        fs::remove_dir_all(fixture.root().join("gone")).unwrap();

        let report = fixture.scan().await;

        assert_eq!(report.counts.deleted, 6, "limit {limit}");
        assert_eq!(fixture.known(), ["keep.txt"], "limit {limit}");
        assert_eq!(fixture.changes().len(), 6);
    }
}

#[tokio::test]
async fn a_renamed_file_is_a_move_and_not_a_deletion() {
    let fixture = Fixture::new();
    fixture.write("old/a.txt", "a");
    fixture.write("old/b.txt", "b");
    fixture.write("c.txt", "c");
    fixture.scan().await;
    fixture.names();
    fs::rename(fixture.root().join("old"), fixture.root().join("new")).unwrap();
    fs::rename(fixture.root().join("c.txt"), fixture.root().join("d.txt")).unwrap();

    let report = fixture.scan().await;

    let moves =
        ["moved c.txt to d.txt", "moved old/a.txt to new/a.txt", "moved old/b.txt to new/b.txt"];
    assert_eq!(fixture.changes(), moves);
    assert_eq!((report.counts.moved, report.counts.deleted), (3, 0));
    assert_eq!(fixture.names(), ["d.txt", "new/a.txt", "new/b.txt"]);
    assert_eq!(fixture.known(), ["d.txt", "new", "new/a.txt", "new/b.txt"]);
}

#[tokio::test]
async fn a_file_moved_over_another_is_a_move() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "wanted");
    fixture.write("b.txt", "unwanted");
    fixture.scan().await;
    fs::rename(fixture.root().join("a.txt"), fixture.root().join("b.txt")).unwrap();

    fixture.scan().await;

    assert_eq!(fixture.changes(), ["moved a.txt to b.txt", "replaced b.txt"]);
    assert_eq!(fixture.known(), ["b.txt"]);
}

#[tokio::test]
async fn one_new_copy_explains_one_missing_file() {
    let fixture = Fixture::new();
    fixture.write("a.txt", "same");
    fixture.write("b.txt", "same");
    fixture.scan().await;
    fs::remove_file(fixture.root().join("a.txt")).unwrap();
    fs::rename(fixture.root().join("b.txt"), fixture.root().join("c.txt")).unwrap();

    let report = fixture.scan().await;

    assert_eq!((report.counts.moved, report.counts.deleted), (1, 1));
    assert_eq!(fixture.known(), ["c.txt"]);
}

#[tokio::test]
async fn a_move_between_roots_is_a_move() {
    let fixture = Fixture::new();
    fixture.write("one/a.txt", "a");
    fixture.write("one/stays.txt", "s");
    fixture.write("two/b.txt", "b");
    let roots = [fixture.root().join("two"), fixture.root().join("one")];
    fixture.try_scan(&roots).await.unwrap();
    fs::rename(roots[1].join("a.txt"), roots[0].join("a.txt")).unwrap();

    fixture.try_scan(&roots).await.unwrap();

    assert_eq!(fixture.changes(), ["moved one/a.txt to two/a.txt"]);
}

#[tokio::test]
async fn more_missing_files_than_are_remembered_are_deleted_all_the_same() {
    let mut fixture = Fixture::new();
    fixture.options.move_candidates = 4;
    fixture.options.allow_mass_deletion = true;
    fixture.write("keep.txt", "k");
    for n in 0..11 {
        fixture.write(&format!("gone/{n}.txt"), &format!("{n}"));
    }
    fixture.scan().await;
    fs::remove_dir_all(fixture.root().join("gone")).unwrap();

    let report = fixture.scan().await;

    assert_eq!(report.counts.deleted, 11);
    assert_eq!(report.counts.files, 1, "further rounds are not counted twice");
    assert_eq!(fixture.known(), ["keep.txt"]);
}

#[tokio::test]
async fn deletions_in_a_large_folder_are_found() {
    let mut fixture = Fixture::with_index(MemoryIndex::with_limit(10));
    for piece in [5, 1000] {
        fixture.options.folder_piece = piece;
        for n in 0..30 {
            fixture.write(&format!("large/{n}.txt"), &format!("{n}"));
            fixture.write(&format!("large/folder-{n}/a.txt"), &format!("in {n}"));
        }
        fixture.scan().await;
        fs::remove_file(fixture.root().join("large/7.txt")).unwrap();
        fs::remove_dir_all(fixture.root().join("large/folder-9")).unwrap();

        let report = fixture.scan().await;

        let expected = ["deleted large/7.txt", "deleted large/folder-9/a.txt"];
        assert_eq!(fixture.changes(), expected, "pieces of {piece}");
        assert_eq!(report.counts.unchanged, 58);
        assert_eq!(fixture.known().len(), 1 + 29 * 3);
    }
}

#[tokio::test]
async fn a_missing_root_deletes_nothing_and_the_others_are_scanned() {
    let fixture = Fixture::new();
    fixture.write("one/a.txt", "a");
    fixture.write("two/b.txt", "b");
    let roots = [fixture.root().join("one"), fixture.root().join("two")];
    fixture.try_scan(&roots).await.unwrap();
    fixture.names();
    fs::remove_dir_all(&roots[0]).unwrap();
    fixture.write("two/c.txt", "c");

    let report = fixture.try_scan(&roots).await.unwrap();

    assert!(matches!(&report.failed_roots[..], [RootError::Missing { root }] if *root == roots[0]));
    assert!(!report.is_complete());
    assert_eq!(fixture.names(), ["two/c.txt"]);
    assert!(fixture.changes().is_empty());
    assert_eq!(fixture.known(), ["one/a.txt", "two/b.txt", "two/c.txt"]);
}

#[tokio::test]
async fn a_missing_root_is_forgotten_where_a_person_says_so_and_something_is_known_of_it() {
    for limit in [1000, 1] {
        let mut fixture = Fixture::with_index(MemoryIndex::with_limit(limit));
        fixture.write("old/a.txt", "a");
        fixture.write("old/deep/b.txt", "b");
        let file = fixture.write("c.txt", "c");
        let roots = [fixture.root().join("old"), file.clone()];
        fixture.try_scan(&roots).await.unwrap();
        fs::remove_dir_all(&roots[0]).unwrap();
        fs::remove_file(&file).unwrap();
        fixture.options.allow_mass_deletion = true;

        let report = fixture.try_scan(&roots).await.unwrap();
        let again = fixture.try_scan(&roots).await.unwrap();

        assert!(report.is_complete(), "{report:?}");
        assert_eq!(
            fixture.changes(),
            ["deleted c.txt", "deleted old/a.txt", "deleted old/deep/b.txt"]
        );
        assert!(fixture.known().is_empty());
        assert_eq!(again.failed_roots.len(), 2, "a typing error is still told: {again:?}");
    }
}

#[tokio::test]
async fn a_root_whose_files_have_all_moved_has_lost_none() {
    let fixture = Fixture::new();
    for n in 0..20 {
        fixture.write(&format!("before/{n}.txt"), &format!("{n}"));
    }
    fixture.scan().await;
    fs::rename(fixture.root().join("before"), fixture.root().join("after")).unwrap();

    let report = fixture.scan().await;

    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.counts.moved, report.counts.deleted), (20, 0));
    assert_eq!(fixture.known().len(), 21);
}

#[tokio::test]
async fn a_root_that_is_suddenly_empty_deletes_nothing() {
    for limit in [1000, 1] {
        let mut fixture = Fixture::with_index(MemoryIndex::with_limit(limit));
        fixture.write("a.txt", "a");
        fixture.write("b.txt", "b");
        fixture.scan().await;
        fs::remove_dir_all(fixture.root()).unwrap();
        fs::create_dir(fixture.root()).unwrap();

        let report = fixture.scan().await;

        assert!(matches!(report.failed_roots[..], [RootError::Emptied { .. }]), "{report:?}");
        assert_eq!(fixture.known(), ["a.txt", "b.txt"]);

        fixture.options.allow_mass_deletion = true;
        let report = fixture.scan().await;

        assert!(report.is_complete(), "{report:?}");
        assert_eq!(fixture.changes(), ["deleted a.txt", "deleted b.txt"]);
        assert!(fixture.known().is_empty());
    }
}

#[tokio::test]
async fn an_empty_root_of_which_nothing_is_known_is_no_fault() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.root()).unwrap();

    assert!(fixture.scan().await.is_complete());
    assert!(fixture.scan().await.is_complete());
}

#[tokio::test]
async fn a_root_that_lost_most_files_deletes_nothing_but_takes_what_is_new() {
    let mut fixture = Fixture::new();
    for n in 0..20 {
        fixture.write(&format!("folder/{n}.txt"), &format!("{n}"));
    }
    fixture.scan().await;
    fixture.names();
    for n in 0..11 {
        fs::remove_file(fixture.root().join(format!("folder/{n}.txt"))).unwrap();
    }
    fixture.write("new.txt", "new");

    let report = fixture.scan().await;

    let fault = &report.failed_roots[..];
    assert!(
        matches!(fault, [RootError::MostlyMissing { missing: 11, known: 20, .. }]),
        "{fault:?}"
    );
    assert_eq!(fixture.names(), ["new.txt"]);
    assert!(fixture.changes().is_empty());

    fixture.options.allow_mass_deletion = true;
    let report = fixture.scan().await;

    assert_eq!(report.counts.deleted, 11);
    assert!(report.is_complete());
}

#[tokio::test]
async fn a_file_can_be_required_to_be_missing_more_than_once() {
    let mut fixture = Fixture::new();
    fixture.options.delete_after = 3;
    fixture.write("a.txt", "a");
    fixture.write("folder/b.txt", "b");
    fixture.write("c.txt", "c");
    fixture.scan().await;
    fixture.names();
    fs::remove_dir_all(fixture.root().join("folder")).unwrap();
    fs::rename(fixture.root().join("c.txt"), fixture.path("aside")).unwrap();

    let first = fixture.scan().await;
    fs::rename(fixture.path("aside"), fixture.root().join("c.txt")).unwrap();
    let second = fixture.scan().await;
    let before_third = fixture.changes();
    fs::remove_file(fixture.root().join("c.txt")).unwrap();
    let third = fixture.scan().await;

    assert_eq!((first.counts.missing, first.counts.deleted), (2, 0));
    assert_eq!((second.counts.missing, second.counts.unchanged), (1, 2));
    assert!(before_third.is_empty(), "{before_third:?}");
    assert_eq!((third.counts.missing, third.counts.deleted), (1, 1));
    assert_eq!(fixture.changes(), ["deleted folder/b.txt"]);
    assert_eq!(fixture.known(), ["a.txt", "c.txt"], "the one that was back counts from 1 again");
    assert!(fixture.names().is_empty());
}

#[tokio::test]
async fn what_was_in_a_folder_that_a_file_displaced_is_not_forgotten() {
    for (move_candidates, delete_after, scans) in [(100, 1, 1), (1, 1, 1), (100, 2, 2)] {
        let mut fixture = Fixture::new();
        fixture.options.move_candidates = move_candidates;
        fixture.options.delete_after = delete_after;
        fixture.options.allow_mass_deletion = true;
        for name in ["keep.txt", "x/1.txt", "x/2.txt", "x/deep/3.txt"] {
            fixture.write(name, name);
        }
        fixture.scan().await;
        fixture.names();
        fs::remove_dir_all(fixture.root().join("x")).unwrap();
        fixture.write("x", "now a file");

        fixture.scan().await;
        let mut names = fixture.names();
        for _ in 1..scans {
            fixture.scan().await;
        }

        names.dedup();
        assert_eq!(names, ["x"], "handed in by the first scan");
        let gone = ["deleted x/1.txt", "deleted x/2.txt", "deleted x/deep/3.txt"];
        assert_eq!(fixture.changes(), gone, "{move_candidates} {delete_after}");
        assert_eq!(fixture.known(), ["keep.txt", "x"]);
        assert_eq!(fixture.scan().await.counts.submitted, 0);
    }
}
