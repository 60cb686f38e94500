// The result in slide-export's JSON schema, which exporter/result.py documents. Percentiles, throughput and comparisons
// are left out: whoever reads the file derives them from rounds_ms.
import Foundation

func resultJSON(_ bundle: ExportedBundle, _ measured: [Unit], batch: Int, calls: Int, began: Date) -> [String: Any] {
    [
        "schema": "slide-export/result/1",
        "measured": ISO8601DateFormatter().string(from: began).replacingOccurrences(of: "Z", with: "+00:00"),
        "environment": environmentJSON(),
        "protocol": protocolJSON(rounds: measured.first?.rounds.count ?? 0, calls: calls),
        "runs": measured.map { runJSON($0, bundle, batch: batch) },
    ]
}

func protocolJSON(rounds: Int, calls: Int) -> [String: Any] {
    ["rounds": rounds, "calls": calls]  // CoreML takes no number of threads and binds nothing
}

func runJSON(_ unit: Unit, _ bundle: ExportedBundle, batch: Int) -> [String: Any] {
    [
        "subject": subjectJSON(bundle, unit: unit.name),
        "evaluator": "CoreML on \(ProcessInfo.processInfo.operatingSystemVersionString)",
        "batch": batch,
        "settings": unit.placement.merging(["compute_units": unit.name]) { _, given in given },
        "rounds_ms": unit.rounds,
        "warmup_calls": unit.warmUpCalls,
        "stable": unit.stable,
        "load_ms": unit.loadMilliseconds,
        "first_ms": unit.firstMilliseconds,
    ]
}

func subjectJSON(_ bundle: ExportedBundle, unit: String) -> [String: Any] {
    let model = bundle.part("model")
    let slides = !bundle.list("fusion").isEmpty
    // Schema 1 had the precision's name alone, and the form of slide attention as "lowering".
    let precision = bundle.part("precision")["name"] as? String ?? bundle.text("precision")
    let options = bundle.part("options")
    let form = options["form"] as? String ?? options["lowering"] as? String ?? ""
    return [
        "name": "\(bundle.text("name")) \(unit)",
        "target": bundle.text("target"),
        "precision": precision,
        "family": model["family"] ?? "",
        "variant": model["variant"] ?? "",
        "image_size": model["image_size"] ?? [],
        "lowering": slides ? form : "",
        "parameters": model["parameters"] ?? 0,
        "macs": model["macs"] ?? 0,
        "artifact_bytes": bundle.part("artifact")["bytes"] ?? 0,
        "manifest_sha256": bundle.manifestSHA256,
        "parity": bundle.part("parity"),
        "accuracy": bundle.manifest["accuracy"] ?? NSNull(),
    ]
}

func environmentJSON() -> [String: Any] {
    let machine = ProcessInfo.processInfo
    return [
        "device": systemValue("hw.model") ?? "this device",
        "cpu": systemValue("machdep.cpu.brand_string") ?? systemValue("hw.machine") ?? "Apple",
        "cores": machine.activeProcessorCount,
        "memory_mib": Int(machine.physicalMemory / 1_048_576),
        "system": "\(platform) \(machine.operatingSystemVersionString)",
        "warnings": doubts(machine),
    ]
}

private var platform: String {
    #if os(iOS)
    return "iOS"
    #else
    return "macOS"
    #endif
}

private func doubts(_ machine: ProcessInfo) -> [String] {
    var found: [String] = []
    if machine.thermalState != .nominal { found.append("the device was warm: its thermal state was not nominal") }
    if machine.isLowPowerModeEnabled { found.append("low power mode was on") }
    return found
}

private func systemValue(_ name: String) -> String? {
    var size = 0
    guard sysctlbyname(name, nil, &size, nil, 0) == 0, size > 1 else { return nil }
    var text = [CChar](repeating: 0, count: size)
    guard sysctlbyname(name, &text, &size, nil, 0) == 0 else { return nil }
    return String(cString: text)
}
