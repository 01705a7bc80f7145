"""Keys that are loose, lost or wrong, and journals that were tampered with.

usage: keys_and_audit.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import json
import pathlib
import re
import shutil

from programs import Case, DONE, FAILED, NEEDS_PERSON, VERSIONS, WRONG_USAGE, main, world


class Keys(Case):
    def status(self, store, *arguments):
        return world.call("consilium-agent", "status", "--store", store, *arguments)

    def test_loose_permissions(self):
        for path, mode, command in [("store-key/site.kek", 0o644, "chmod 600"),
                                    ("store-key", 0o755, "chmod 700"),
                                    ("store/site.db", 0o644, "chmod 600")]:
            with self.subTest(path):
                store = world.copy_of_store()
                self.expect(self.status(store), DONE)
                (store.parent / path).chmod(mode)
                self.expect(self.status(store), FAILED, command)

    def test_wrong_missing_or_damaged_key(self):
        store = world.copy_of_store()
        other = world.fresh("store")
        self.expect(world.call("consilium-agent", "init", "--store", other), DONE)
        done = self.expect(self.status(store, "--kek", f"{other}-key/site.kek"), FAILED)
        self.assertRegex(done.stderr, "(?i)key")
        self.expect(world.call("consilium-agent", "run", "--store", store, "--kek",
                               f"{other}-key/site.kek"), NEEDS_PERSON)
        self.expect(self.status(store, "--kek", world.fresh("none")), FAILED,
                    "no credential consilium-kek in $CREDENTIALS_DIRECTORY")
        key = store.parent / "store-key/site.kek"
        key.write_text("consilium-kek 1 plain 00\n")
        self.expect(self.status(store), FAILED, "not a key file")

    def test_a_plaintext_store_is_refused(self):
        store = world.copy_of_store()
        (store / "site.db").write_bytes(b"SQLite format 3\0" + bytes(4080))
        self.expect(self.status(store), FAILED)

    def test_passphrase(self):
        store = world.fresh("store")
        command = ["consilium-agent", "init", "--store", store, "--passphrase-file", "-"]
        self.expect(world.call(*command, stdin="too short\n"), WRONG_USAGE, "12 to 1024")
        self.expect(world.call(*command, stdin="correct horse battery\n"), DONE, "passphrase")
        self.expect(self.status(store), FAILED, "--passphrase-file")
        self.expect(world.call("consilium-agent", "status", "--store", store, "--passphrase-file",
                               "-", stdin="correct horse batterz\n"), WRONG_USAGE,
                    "wrong passphrase")
        self.expect(world.call("consilium-agent", "status", "--store", store, "--passphrase-file",
                               "-", stdin="correct horse battery\n"), DONE, "not joined")

    def test_the_aggregators_key(self):
        copy = world.fresh("aggregator")
        world.federation.stop_all()
        shutil.copytree(world.federation.work / "aggregator", copy)
        shutil.copytree(world.federation.work / "aggregator-key", f"{copy}-key")
        key = pathlib.Path(f"{copy}-key/aggregator.kek")
        world.federation.start_aggregator()
        world.start_first_agent()
        key.chmod(0o644)
        self.expect(world.call("consilium-aggregator", "serve", "--data", copy), FAILED,
                    "chmod 600")
        key.chmod(0o600)
        other = world.fresh("store")
        self.expect(world.call("consilium-agent", "init", "--store", other), DONE)
        shutil.copy(f"{other}-key/site.kek", key)
        done = self.expect(world.call("consilium-aggregator", "serve", "--data", copy), FAILED)
        self.assertRegex(done.stderr, "(?i)key")


def flip_a_bit_in_every_page(path, page=4096):
    content = bytearray(path.read_bytes())
    for start in range(page, len(content), page):
        content[start + page // 2] ^= 1
    path.write_bytes(content)


class Audit(Case):
    def test_a_damaged_journal_at_a_site(self):
        store = world.copy_of_store()
        verify = ["consilium-agent", "audit", "verify", "--store", store]
        self.expect(world.call(*verify), DONE, "holds")
        flip_a_bit_in_every_page(store / "site.db")
        self.expect(world.call(*verify), FAILED)

    def test_damage_at_the_aggregator(self):
        world.federation.stop_all()
        copy = world.federation.copy_to(world.fresh("federation"))
        spoilt = world.federation.copy_to(world.fresh("federation"))
        world.federation.start_aggregator()
        world.start_first_agent()
        copy.start_aggregator()
        try:
            self.assertTrue(copy.admin_json("audit", "verify")["intact"])
            blobs = [path for path in (copy.work / "aggregator").rglob("*")
                     if path.is_file() and "blobs" in path.parts]
            self.assertGreater(len(blobs), VERSIONS)
            content = bytearray(blobs[0].read_bytes())
            content[len(content) // 2] ^= 1
            blobs[0].write_bytes(content)
            done = copy.admin("audit", "verify", check=False)
            self.expect(done, FAILED, "audit chain is broken")
            self.assertIn("NOT INTACT", done.stdout)
            done = copy.admin("audit", "verify", "--json", check=False)
            self.assertEqual(done.returncode, FAILED)
            answer = json.loads(done.stdout)
            self.assertFalse(answer["intact"])
            self.assertIn(world.run, answer["finding"])
        finally:
            copy.stop_all()
        databases = list((spoilt.work / "aggregator").rglob("*.db"))
        self.assertEqual(len(databases), 1)
        flip_a_bit_in_every_page(databases[0])
        self.expect(world.call("consilium-aggregator", "serve", "--data",
                               spoilt.work / "aggregator"), FAILED)


main(__name__)
