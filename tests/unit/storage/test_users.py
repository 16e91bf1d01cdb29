"""Users, roles and tokens."""

import stat
import threading

import pytest
import sqlalchemy as sa

from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage import users
from headwater.storage.tables import users as table


def test_token_opens_its_user_and_is_nowhere_in_the_database(house: sa.Engine) -> None:
    token = users.create_user(house, "ann", "editor", actor="admin")
    found = users.user_of_token(house, token)
    assert found is not None
    assert (found.name, found.role) == ("ann", "editor")
    assert users.user_of_token(house, token + "x") is None
    with house.connect() as connection:
        assert token not in str(connection.execute(sa.select(table)).all())


def test_role_holds_the_rights_of_those_before_it(house: sa.Engine) -> None:
    users.create_user(house, "ann", "analyst", actor="admin")
    (ann,) = users.list_users(house)
    assert [role for role in users.ROLES if ann.may(role)] == ["viewer", "agent", "analyst"]


def test_renewed_or_disabled_token_is_refused(house: sa.Engine) -> None:
    first = users.create_user(house, "ann", "viewer", actor="admin")
    second = users.renew_token(house, "ann")
    assert users.user_of_token(house, first) is None
    assert users.user_of_token(house, second) is not None
    users.disable_user(house, "ann")
    assert users.user_of_token(house, second) is None


def test_taken_name_wrong_name_and_wrong_role_are_refused(house: sa.Engine) -> None:
    users.create_user(house, "ann", "viewer", actor="admin")
    with pytest.raises(Conflict, match="'ann'"):
        users.create_user(house, "ann", "viewer", actor="admin")
    with pytest.raises(HeadwaterError, match="no user name"):
        users.create_user(house, "a b\n", "viewer", actor="admin")
    with pytest.raises(HeadwaterError, match="one of viewer"):
        users.set_role(house, "ann", "root")
    with pytest.raises(NotFound):
        users.set_role(house, "bob", "viewer")


def test_first_start_of_several_processes_makes_one_admin_token_that_only_its_owner_reads(
    house: sa.Engine, database_settings: Settings
) -> None:
    threads = [threading.Thread(target=users.ensure_admin_token, args=(database_settings, house)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    path = users.ensure_admin_token(database_settings, house)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    admin = users.user_of_token(house, path.read_text().strip())
    assert admin is not None
    assert admin.may("admin")
    assert [file.name for file in path.parent.iterdir() if "token" in file.name] == ["admin.token"]


def test_deleted_token_file_is_replaced_and_the_old_token_refused(
    house: sa.Engine, database_settings: Settings
) -> None:
    path = users.ensure_admin_token(database_settings, house)
    old = path.read_text().strip()
    path.unlink()
    users.ensure_admin_token(database_settings, house)
    assert users.user_of_token(house, old) is None
    assert users.user_of_token(house, path.read_text().strip()) is not None
