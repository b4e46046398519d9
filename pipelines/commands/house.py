"""Commands about the data, the servers and the machine."""

import sys
from argparse import ArgumentParser, Namespace

from pipelines.commands import Command, answer


def _data_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("verb", choices=("pull", "verify", "status", "record", "add"))
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="data sets; for add one, and the files of new rows"
    )
    parser.add_argument("--offline", action="store_true", help="fetch nothing")
    parser.add_argument("--replace", action="store_true", help="move files of yours aside")


def _data(options: Namespace) -> int:
    from pipelines import data

    found = data.act(options.verb, tuple(options.names), options.offline, options.replace)
    answer(options, found.model_dump(mode="json"), data.text(found))
    return data.exit_code(found)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _up_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--mlflow-port", type=int)
    parser.add_argument("--prefect-port", type=int)
    parser.add_argument(
        "--slots",
        type=int,
        metavar="N",
        help="steps without a device at one time; 0: no worker, runs do their steps themselves",
    )
    parser.add_argument(
        "--devices", metavar="0,1", help="devices of the worker; all of them without it"
    )
    parser.add_argument(
        "--database", metavar="HOST[:PORT]", help="keep the records on this PostgreSQL from now on"
    )
    parser.add_argument(
        "--artifacts",
        metavar="s3://BUCKET/PREFIX",
        help="keep the files of runs and versions in this bucket from now on",
    )
    parser.add_argument(
        "--host", metavar="ADDRESS", help="open a door at this address for workers elsewhere"
    )
    parser.add_argument("--door-port", type=int)


def _up(options: Namespace) -> int:
    from components import project
    from components.bucket import asking
    from pipelines import bucket, database, reaping, servers
    from pipelines.workers import upkeep

    if options.database:
        database.use(options.database, _say)
    else:
        database.demand()
    if options.artifacts:
        bucket.use(options.artifacts, _say)
    else:
        asking.demand()
    named = {"mlflow": options.mlflow_port, "prefect": options.prefect_port}
    ports = {name: port for name, port in named.items() if port is not None}
    home = project.home()
    wanted = upkeep.wanted(home, options.slots, options.devices)
    door = options.host and servers.Door(host=options.host, port=options.door_port)
    if door:
        wanted = wanted or upkeep.WAITING  # somebody has to wait for steps done elsewhere
    up = servers.up(home, ports, _say, door or None)
    reaping.after_up(_say)
    found = upkeep.up(home, wanted)
    lines = [f"{name:<8} {link}" for name, link in up.links.items()]
    if found is not None:
        lines.append(f"worker   {upkeep.text(found)}")
    lines.append(f"The Prefect page asks once for what stands in {up.secret}")
    if up.servers.door is not None:
        lines += servers.door_text(home, up.servers.door)
    document = {**up.model_dump(mode="json"), "worker": found and found.model_dump(mode="json")}
    answer(options, document, "\n".join(lines))
    return 0


def _down(options: Namespace) -> int:
    from components import project
    from pipelines import servers
    from pipelines.workers import upkeep

    home = project.home()
    stopped = (*upkeep.down(home, _say), *servers.down(home))
    answer(options, {"stopped": list(stopped)}, f"stopped: {', '.join(stopped) or 'nothing ran'}")
    return 0


def _env(options: Namespace) -> int:
    from components import project
    from pipelines import servers

    values = servers.environment(project.home())
    answer(options, values, servers.shell(values))
    return 0


def _doctor_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--server", metavar="URL", help="a door that this machine is to work for")


def _doctor(options: Namespace) -> int:
    from pipelines import doctor

    findings = doctor.examine()
    if options.server:
        from pipelines.remote import joining

        findings = (*findings, *joining.examine(options.server))
    answer(options, doctor.document(findings), doctor.text(findings))
    return doctor.exit_code(findings)


def _kinds_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("which", nargs="?", default="", metavar="FAMILY[.OPTION]")


def _kinds(options: Namespace) -> int:
    from pipelines import kinds

    found = kinds.listed(options.which)
    answer(options, kinds.document(found), kinds.text(found))
    return 0


COMMANDS = (
    Command("data", _data, "pull, verify, look at, record, add to data sets", _data_arguments),
    Command("up", _up, "start the servers and this machine's worker, on 127.0.0.1", _up_arguments),
    Command("down", _down, "stop what up started; steps leave a checkpoint first"),
    Command(
        "env", _env, 'for eval "$(athanor env)": plain mlflow, prefect and optuna use our stores'
    ),
    Command(
        "doctor",
        _doctor,
        "examine versions, stores, data and machine; print the exact fix",
        _doctor_arguments,
    ),
    Command("kinds", _kinds, "list every option that a config can choose", _kinds_arguments),
)
