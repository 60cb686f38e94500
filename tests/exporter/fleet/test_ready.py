"""Jobs are ready in the order of the plan once their needs have an output, and blocked once one has none."""

from slide_export.fleet.ready import ReadyJobs

CLASSES = {"a": "small", "b": "small", "c": "large", "d": "small"}


def test_jobs_come_in_the_order_of_the_plan_each_class_for_itself() -> None:
    jobs = ReadyJobs(CLASSES, {})
    assert (jobs.classes(), jobs.waiting("small"), jobs.waiting("none"), jobs.unsettled) == (
        ["small", "large"],
        3,
        0,
        4,
    )
    assert jobs.take("small", 2) == ["a", "b"]
    jobs.give_back("a")
    assert jobs.take("small", 9) == ["a", "d"]
    assert (jobs.take("small", 1), jobs.take("small", 0), jobs.classes()) == ([], [], ["large"])


def test_a_job_waits_for_all_that_it_needs() -> None:
    jobs = ReadyJobs(CLASSES, {"d": ("a", "b")})
    jobs.take("small", 2)
    jobs.settle("a", output=True)
    assert jobs.waiting("small") == 0
    jobs.settle("b", output=True)
    assert (jobs.take("small", 1), jobs.unsettled) == (["d"], 2)


def test_a_need_without_an_output_blocks_what_needs_it_to_the_end() -> None:
    told: list[tuple[str, str]] = []
    jobs = ReadyJobs(CLASSES, {"b": ("a",), "d": ("b",)}, blocked=lambda job, need: told.append((job, need)))
    jobs.take("small", 1)
    jobs.settle("a", output=False)
    assert told == [("b", "a"), ("d", "b")]
    assert jobs.unsettled == 1


def test_a_lenient_job_is_blocked_where_there_is_none_of_its_needs() -> None:
    for outputs, ready in (((True, False), True), ((False, False), False)):
        told: list[tuple[str, str]] = []
        jobs = ReadyJobs(
            CLASSES, {"d": ("a", "b")}, lenient={"d"}, blocked=lambda job, need, told=told: told.append((job, need))
        )
        jobs.take("small", 2)
        jobs.settle_all(zip(("a", "b"), outputs, strict=True))
        assert (jobs.waiting("small") == 1) is ready
        assert told == ([] if ready else [("d", "a")])


def test_what_was_settled_before_is_not_run_and_counts() -> None:
    jobs = ReadyJobs(CLASSES, {"b": ("a",), "d": ("c",)}, settled={"a": True, "c": False})
    assert (jobs.take("small", 9), jobs.classes(), jobs.unsettled) == (["b"], [], 1)


def test_ready_jobs_that_are_dropped_are_the_callers() -> None:
    jobs = ReadyJobs(CLASSES, {"b": ("a",)})
    assert jobs.drop({"d", "b", "c"}) == ["d", "c"]  # b is not ready
    assert jobs.take("small", 9) == ["a"]
    assert jobs.unsettled == 4


def test_a_job_that_is_dropped_before_its_turn_never_has_one() -> None:
    told: list[tuple[str, str]] = []
    needs = {"b": ("a",), "d": ("b",)}
    jobs = ReadyJobs(CLASSES, needs, settled={"c": True}, blocked=lambda job, need: told.append((job, need)))
    assert jobs.drop_later(["a", "b", "c", "of another plan"]) == ["b"]  # a is ready, c was settled before
    assert jobs.take("small", 9) == ["a"]
    jobs.settle("a", output=True)
    assert (jobs.take("small", 9), jobs.unsettled, told) == ([], 0, [("d", "b")])


def test_a_lenient_job_is_dropped_although_some_of_its_needs_are_there() -> None:
    jobs = ReadyJobs(CLASSES, {"d": ("a", "b")}, lenient={"d"})
    jobs.take("small", 2)
    assert jobs.drop_later(["d"]) == ["d"]
    jobs.settle_all([("a", True), ("b", False)])
    assert jobs.classes() == ["large"]
