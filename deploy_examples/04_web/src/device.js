/** What a browser tells of the machine below it; what it keeps for itself stays empty. */

/** Returns the "environment" of a result, less its versions and doubts, and the browser's name. */
export async function device() {
  const browser = browserName();
  const told =
    (await navigator.userAgentData?.getHighEntropyValues(['model', 'platformVersion', 'architecture'])) ?? {};
  const platform = told.platform || navigator.platform;
  return {
    browser,
    environment: {
      device: `${browser} on ${told.model || platform}`,
      cpu: told.architecture ?? '',
      flags: [],
      cores: navigator.hardwareConcurrency,
      memory_mib: 1024 * (navigator.deviceMemory ?? 0), // rounded by the browser to a power of two
      governor: '',
      system: [platform, told.platformVersion].filter(Boolean).join(' '),
      python: '',
      load_average: 0,
    },
  };
}

/** Returns "Chromium 156", "Firefox 140" or "Safari 26". */
function browserName() {
  const brand = navigator.userAgentData?.brands.find(({ brand }) => !/not.?a.?brand|^chromium$/i.test(brand));
  const own = brand ?? navigator.userAgentData?.brands.find(({ brand }) => brand === 'Chromium');
  if (own) return `${own.brand} ${own.version}`;
  const [, name, version] = /(Firefox)\/(\d+)/.exec(navigator.userAgent) ?? [];
  const [, safari] = /Version\/(\d+).*Safari/.exec(navigator.userAgent) ?? [];
  return name ? `${name} ${version}` : `Safari ${safari ?? ''}`.trim();
}
