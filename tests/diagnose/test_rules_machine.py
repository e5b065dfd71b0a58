"""Rules of the machine (H, D2, G, B) where they decide: severities, limits, and what they keep silent about."""

from __future__ import annotations

from typing import Any

import pytest
from ward import HEALTHY, merge, patient, ward

from claimed import decoded
from flash_doctor.diagnose import diagnose
from flash_doctor.diagnose.registry import CHECKS
from flash_doctor.facts import Facts
from flash_doctor.model import Environment, Family, Finding, Report, Severity
from flash_doctor.system.codec import encode

FACTS = Facts()
MACHINE = {Family.HOST, Family.DRIVER, Family.GPU, Family.BUILD}
ABSENT = {"absent": "looked, not there"}
UNKNOWN = {"unknown": "could not look"}
NO_FLASH = {"flash": {"absent": "no flash-attn"}}
GIB = 2**30


def examine(patch: dict[str, Any], base: str = HEALTHY, *, host_only: bool = False) -> Report:
    """The report on a recorded patient with a change."""
    healthy = patient(base)
    environment = decoded(Environment, merge(encode(healthy.environment), patch))
    return diagnose(healthy.target, environment, FACTS, host_only=host_only)


def only(report: Report, code: str) -> Finding:
    found = report.of(code)
    assert len(found) == 1, [finding.code for finding in report.findings]
    return found[0]


def unchecked(report: Report) -> set[str]:
    return {item.code for item in report.unchecked}


def gpu(name: str, major: int, minor: int, **other: Any) -> dict[str, Any]:
    base = encode(patient(HEALTHY).environment)["gpus"]["devices"][0]
    return {**base, "name": name, "capability": {"major": major, "minor": minor}, "fabric": ABSENT, **other}


def machine_codes() -> list[str]:
    diagnose(patient(HEALTHY).target, patient(HEALTHY).environment, FACTS)
    return sorted(code for code, check in CHECKS.items() if check.family in MACHINE)


@pytest.mark.parametrize("code", machine_codes())
def test_each_rule_fires_on_one_patient_and_is_quiet_on_the_healthy_one(code: str) -> None:
    assert any(code in recorded.fires for recorded in ward())
    assert not examine({}).of(code)


@pytest.mark.parametrize("code", machine_codes())
def test_the_documentation_of_each_rule_says_how_to_look_and_what_to_do(code: str) -> None:
    text = CHECKS[code].documentation
    assert "Check by hand:" in text
    assert "What to do:" in text


@pytest.mark.parametrize("name", [recorded.name for recorded in ward() if set(recorded.fires) & set(machine_codes())])
def test_every_finding_has_evidence_and_errors_have_a_next_step(name: str) -> None:
    recorded = patient(name)
    report = diagnose(recorded.target, recorded.environment, FACTS)
    assert all(finding.evidence and all(finding.evidence) for finding in report.findings)
    assert all(finding.remedy for finding in report.findings if finding.severity is not Severity.INFO)


def test_host_only_makes_no_rule_that_needs_the_target() -> None:
    parts = ("python", "packages", "torch", "flash")
    report = examine(dict.fromkeys(parts, UNKNOWN), host_only=True)
    assert not report.unchecked
    assert report.score.checked > 10


def test_a_login_node_with_cpu_torch_is_left_alone() -> None:
    recorded = patient("healthy-login-node")
    assert not diagnose(recorded.target, recorded.environment, FACTS).findings


class TestDriverTooOld:
    def report(
        self, version: str, max_cuda: str, *, cuda: str = "12.8", torch: str = "2.8.0+cu128", **patch: Any
    ) -> Report:
        driver = {"module": version, "library": version, "max_cuda": max_cuda}
        return examine({"driver": driver, "torch": {"version": torch, "cuda": cuda}, **patch})

    def test_below_the_floor_of_the_major_version(self) -> None:
        finding = only(self.report("515.65.01", "11.7"), "D204")
        assert finding.severity is Severity.ERROR
        assert "at least 525.60.13" in finding.summary

    def test_between_floor_and_full_with_code_for_the_gpu(self) -> None:
        assert only(self.report("535.183.01", "12.2"), "D204").severity is Severity.INFO

    def test_between_floor_and_full_when_the_code_is_not_known(self) -> None:
        vendor = {"version": "2.8.0a0+34c6371d24.nv25.8", "cuda": "12.9", "vendor": "NVIDIA NGC"}
        driver = {"module": "535.183.01", "library": "535.183.01", "max_cuda": "12.2"}
        assert only(examine({"driver": driver, "torch": vendor}), "D204").severity is Severity.WARNING

    def test_between_floor_and_full_without_code_for_the_gpu(self) -> None:
        devices = {"devices": [gpu("Tesla V100-SXM2-32GB", 7, 0)]}
        report = self.report("535.183.01", "12.2", torch="2.11.0+cu128", gpus=devices)
        assert only(report, "D204").severity is Severity.ERROR
        assert "dropped" in only(report, "G305").summary

    def test_full_support(self) -> None:
        assert not self.report("570.26", "12.8").of("D204")

    def test_what_the_driver_says_of_itself_counts_first(self) -> None:
        assert not self.report("535.183.01", "12.8").of("D204")

    def test_an_unknown_cuda_major_is_not_judged(self) -> None:
        assert "D204" in unchecked(self.report("580.65.06", "13.0", torch="9.0.0", cuda="19.1"))

    def test_an_unknown_driver_version_is_not_judged(self) -> None:
        driver = {"module": UNKNOWN, "library": UNKNOWN, "max_cuda": UNKNOWN}
        assert "D204" in unchecked(examine({"driver": driver}))

    def test_wsl2_is_judged_by_the_windows_numbers(self) -> None:
        driver = {"library": "528.02", "max_cuda": "12.0"}
        finding = only(examine({"driver": driver}, "healthy-rtx4090-wsl2"), "D204")
        assert finding.severity is Severity.ERROR
        assert "at least 528.33" in finding.summary

    def test_numbers_are_written_as_nvidia_writes_them(self) -> None:
        assert "driver 535.104.05" in only(self.report("535.104.05", "12.2"), "D204").summary


class TestDriverInPieces:
    def test_the_library_of_wsl2_has_a_number_of_its_own(self) -> None:
        assert not examine({"driver": {"module": "580.97"}}, "healthy-rtx4090-wsl2").of("D202")

    def test_different_versions_count_even_when_nvml_answers(self) -> None:
        assert only(examine({"driver": {"library": "580.95.05"}}), "D202").severity is Severity.ERROR

    def test_a_number_that_was_not_read_is_not_called_equal(self) -> None:
        assert "D202" in unchecked(examine({"driver": {"library": UNKNOWN}}))
        assert "D206" in unchecked(examine({"gpus": {"on_bus": UNKNOWN}}))

    def test_the_remedy_in_a_container_is_another_one(self) -> None:
        remedy = only(examine({}, "driver-packages-in-image"), "D202").remedy
        assert remedy
        assert "sudo reboot" not in remedy.commands

    def test_a_second_gpu_left_out_is_a_warning(self) -> None:
        assert only(examine({"gpus": {"on_bus": 3}}), "D206").severity is Severity.WARNING

    def test_a_container_sees_the_host_s_bus(self) -> None:
        container = {"habitat": "container", "habitat_evidence": "/.dockerenv"}
        assert not examine({"gpus": {"on_bus": 8}, "host": container}).findings

    def test_driver_libraries_on_a_machine_without_a_gpu_are_no_fault(self) -> None:
        report = examine({"driver": {"failure": "NVML_ERROR_DRIVER_NOT_LOADED (9)", "module": ABSENT}, "gpus": ABSENT})
        assert {finding.code for finding in report.findings} == {"G301"}


class TestFabric:
    def report(self, fabric: object, manager: object) -> Report:
        devices = [gpu("NVIDIA A100-SXM4-80GB", 8, 0, fabric=fabric)]
        return examine(
            {"driver": {"fabric_manager": manager, "nvswitches": 6}, "gpus": {"on_bus": 1, "devices": devices}}
        )

    def test_a100_tells_no_state_so_the_service_decides(self) -> None:
        assert only(self.report(ABSENT, ABSENT), "D254").severity is Severity.ERROR
        assert not self.report(ABSENT, "running (pid 812)").findings

    def test_a_container_cannot_see_the_service(self) -> None:
        assert "D254" in unchecked(self.report(ABSENT, UNKNOWN))

    def test_a_completed_fabric_needs_no_service_in_sight(self) -> None:
        assert not self.report("completed", ABSENT).findings

    def test_an_error_of_the_fabric_counts(self) -> None:
        assert self.report("completed (NVML error 5)", "running (pid 812)").of("D254")


class TestPassage:
    def test_a_missing_uvm_file_is_normal_after_a_start(self) -> None:
        nodes = ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]
        assert only(examine({"gpus": {"device_nodes": nodes}}), "D252").severity is Severity.INFO

    def test_files_that_training_does_not_open_may_be_closed(self) -> None:
        assert not examine({"gpus": {"unreadable_nodes": ["/dev/nvidia-caps", "/dev/nvidia-modeset"]}}).findings

    def test_wsl2_without_a_windows_driver(self) -> None:
        report = examine({"driver": ABSENT, "gpus": ABSENT}, "healthy-rtx4090-wsl2")
        assert only(report, "D253").severity is Severity.INFO

    def test_a_compat_library_helps_a_data_center_gpu(self) -> None:
        driver = {
            "module": "535.183.01",
            "library": "535.183.01",
            "compat_library": "/usr/local/cuda/compat/libcuda.so.1",
        }
        assert not examine({"driver": driver}).findings


class TestVisibility:
    def devices(self, *seen: object) -> list[dict[str, Any]]:
        return [gpu("NVIDIA H100 80GB HBM3", 9, 0, index=index, visible=value) for index, value in enumerate(seen)]

    def test_some_gpus_hidden_on_purpose(self) -> None:
        patch = {"gpus": {"visible_devices": "0", "devices": self.devices(True, False)}}
        assert not examine(patch).of("G302")

    def test_one_entry_too_many(self) -> None:
        patch = {"gpus": {"visible_devices": "0,7", "devices": self.devices(True, False)}}
        assert only(examine(patch), "G302").severity is Severity.WARNING

    def test_an_unknown_order_is_not_judged(self) -> None:
        patch = {"gpus": {"visible_devices": "0", "devices": self.devices(UNKNOWN, UNKNOWN)}}
        assert "G302" in unchecked(examine(patch))

    def test_two_slices_of_one_gpu(self) -> None:
        patch = {"gpus": {"visible_devices": "MIG-1,MIG-2", "devices": self.devices(True)}}
        assert not examine(patch).of("G302")


class TestGpuCode:
    def test_flash_attn_1_runs_on_turing(self) -> None:
        module = {"kind": "flash-attn 1", "name": "flash_attn", "path": "/x/flash_attn", "version": "1.0.9"}
        patch = {"flash": {"modules": [{**module, "in_site_packages": True}]}}
        assert only(examine({}, "tesla-t4"), "G303").severity is Severity.ERROR
        assert not examine(patch, "tesla-t4").of("G303")

    def test_a_gpu_that_is_hidden_does_not_count(self) -> None:
        devices = [gpu("NVIDIA H100 80GB HBM3", 9, 0), gpu("Tesla T4", 7, 5, index=1, visible=False)]
        assert not examine({"gpus": {"devices": devices}}).findings

    def test_a_vendor_s_torch_holds_other_code(self) -> None:
        patch = {"torch": {"vendor": "NVIDIA NGC"}}
        assert "G305" in unchecked(examine(patch, "rtx5090-torch-cu126"))

    def test_a_build_whose_code_is_not_known_is_not_called_healthy(self) -> None:
        assert "G305" in unchecked(examine({"torch": {"version": "2.12.0+cu129", "cuda": "12.9"}}))
        assert "G306" in unchecked(examine({}, "flash-astral-pin"))

    def test_ptx_in_torch_serves_a_newer_gpu(self) -> None:
        patch = {
            "torch": {"version": "2.8.0+cu129", "cuda": "12.9"},
            "gpus": {"devices": [gpu("NVIDIA X100", 13, 0)], "on_bus": 1},
            "driver": {"max_cuda": "14.0"},
        }
        assert not examine(patch).of("G305")

    def test_equal_code_on_different_gpus_is_worth_a_word(self) -> None:
        devices = [gpu("NVIDIA GeForce RTX 4090", 8, 9), gpu("NVIDIA GeForce RTX 3090", 8, 6, index=1)]
        assert only(examine({"gpus": {"devices": devices}}), "G307").severity is Severity.INFO

    def test_one_empty_mig_gpu_of_two(self) -> None:
        devices = [gpu("NVIDIA H100 80GB HBM3", 9, 0), gpu("NVIDIA H100 80GB HBM3", 9, 0, index=1, mig=True)]
        assert only(examine({"gpus": {"devices": devices}}), "G308").severity is Severity.WARNING


class TestHost:
    def volume(self, path: str, total: int, free: int) -> dict[str, Any]:
        return {"path": path, "filesystem": "ext4", "total": total, "free": free}

    def test_one_disk_is_told_once(self) -> None:
        full = {
            "target_disk": self.volume("/opt/train", 100 * GIB, GIB),
            "cache_disk": self.volume("/home", 100 * GIB, GIB),
        }
        assert only(examine({"host": full}), "H101").subject == "/opt/train"

    def test_two_disks_are_told_both(self) -> None:
        full = {
            "target_disk": self.volume("/opt/train", 100 * GIB, GIB),
            "cache_disk": self.volume("/home", 99 * GIB, GIB),
        }
        assert len(examine({"host": full}).of("H101")) == 2

    @pytest.mark.parametrize(
        ("used", "severity"), [(0.59, None), (0.61, "warning"), (0.79, "warning"), (0.81, "error")]
    )
    def test_thresholds(self, used: float, severity: str | None) -> None:
        report = examine({"host": {"target_disk": self.volume("/opt/train", 10**12, int(10**12 * (1 - used)))}})
        assert [finding.severity.value for finding in report.of("H101")] == [severity] * (severity is not None)

    def test_a_disk_that_could_not_be_asked_is_not_healthy(self) -> None:
        report = examine(
            {"host": {"target_disk": UNKNOWN, "cache_disk": UNKNOWN, "temp_disk": UNKNOWN, "shm": UNKNOWN}}
        )
        assert {"H101", "H102", "H103"} <= unchecked(report)

    def test_no_shared_memory_at_all(self) -> None:
        assert "missing" in only(examine({"host": {"shm": ABSENT}}), "H103").summary


class TestBuild:
    def toolkit(self, version: object) -> dict[str, Any]:
        kit = {"nvcc": "/usr/local/cuda/bin/nvcc", "origin": "PATH", "version": version}
        return {"toolchain": {"toolkits": [kit]}}

    def test_nothing_is_told_where_nothing_is_built(self) -> None:
        assert not examine({"toolchain": {"toolkits": []}}).findings
        assert not examine(self.toolkit("13.0")).findings

    def test_a_missing_flash_attn_makes_it_worth_a_word(self) -> None:
        report = examine({**NO_FLASH, "toolchain": {"toolkits": []}})
        assert only(report, "B801").severity is Severity.INFO

    def test_an_nvcc_that_does_not_tell_its_version(self) -> None:
        assert {"B802", "B803", "B804"} <= unchecked(examine({**NO_FLASH, **self.toolkit(UNKNOWN)}))

    def test_a_toolkit_of_the_right_major_is_named(self) -> None:
        remedy = only(examine({}, "deepspeed-nvcc-13"), "B802").remedy
        assert remedy
        assert "export CUDA_HOME=/usr/local/cuda-12.8" in remedy.commands

    def test_nvcc_that_has_dropped_a_gpu(self) -> None:
        devices = {"gpus": {"devices": [gpu("Tesla V100-SXM2-32GB", 7, 0)], "on_bus": 1}}
        finding = only(examine({**NO_FLASH, **self.toolkit("13.0"), **devices}), "B803")
        assert "12.9 was the last" in finding.summary

    @pytest.mark.parametrize(("name", "version", "fires"), [("clang++", "20.1", True), ("clang++", "19.1", False)])
    def test_clang_has_a_limit_of_its_own(self, name: str, version: str, fires: bool) -> None:
        compiler = {"path": f"/usr/bin/{name}", "name": name, "version": version}
        report = examine({**NO_FLASH, "toolchain": {"compiler": compiler}})
        assert bool(report.of("B804")) is fires

    def test_a_login_node_is_not_asked_for_a_compiler(self) -> None:
        patch = {"toolchain": {"toolkits": [], "compiler": ABSENT, "python_headers": ABSENT, "ninja": ABSENT}}
        assert not examine(patch, "healthy-login-node").findings
