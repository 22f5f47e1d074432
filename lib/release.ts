/** The release of cnikit that this is: package.json's version, which an executable has not at hand. */
export const release = '0.1.0'
